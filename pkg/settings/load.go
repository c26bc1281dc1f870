package settings

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/caarlos0/env/v11"

	"github.com/message-dispatcher/dispatch/pkg/redact"
)

// Load reads the configuration T of a service from the environment and from .env in
// the working directory, and validates it. The warnings are lines for people, such
// as unknown DISPATCH_ names and settings without effect. Every error is a
// *ValidationErrors with all validation errors.
//
// T is a struct. Each field has the tags
//
//	env:"NAME" envDefault:"…" help:"one line" secret:"true"
//
// and lines:"true" if blanks and line breaks around the value don't matter; or it is
// a struct of such fields. The blocks of this package are such structs, embedded or
// not. envPrefix works; pointers to structs don't. Load calls the method Validate()
// error of every struct that has one (see Validate), and Warnings() []string.
func Load[T any]() (cfg T, warnings []string, err error) {
	loaded, err := LoadWith(Parse[T])
	loaded.Warnings = append(loaded.Warnings, Warnings(loaded.Environment, &loaded.Config)...)
	return loaded.Config, loaded.Warnings, err
}

// Parse is Load for a given environment, without warnings.
func Parse[T any](environment Environment) (T, error) {
	var cfg T
	if environment == nil {
		environment = Environment{} // for nil, env would read the real environment
	}
	found := collector{secrets: map[string]bool{}}
	unread := map[string]bool{}
	for _, f := range fieldsOf(reflect.ValueOf(&cfg).Elem(), "") {
		found.secrets[f.variable.Name] = f.variable.Secret
		if err := f.read(environment); err != nil {
			found.add(err)
			unread[f.variable.Name] = true
		}
	}
	found.unparsed = unread
	found.validate(reflect.ValueOf(&cfg).Elem())
	return cfg, found.err()
}

// Validate calls the Validate methods of cfg and of all blocks in it. It returns all
// validation errors as one *ValidationErrors, or nil. The Validate of a service's
// configuration therefore checks its own fields and combinations, not the blocks.
// cfg is a struct or a pointer to one.
func Validate(cfg any) error {
	v := structOf(cfg)
	found := collector{secrets: map[string]bool{}}
	for _, f := range fieldsOf(v, "") {
		found.secrets[f.variable.Name] = f.variable.Secret
	}
	found.validate(v)
	return found.err()
}

func (c *collector) validate(v reflect.Value) {
	eachBlock(v, func(block any) {
		if b, ok := block.(interface{ Validate() error }); ok {
			c.add(b.Validate())
		}
	})
}

// field is the place of one variable in a configuration.
type field struct {
	variable Variable
	prefix   string
	value    reflect.Value
	decl     reflect.StructField
}

// fieldsOf lists the variables of a struct in order.
func fieldsOf(v reflect.Value, prefix string) []field {
	var fields []field
	for i := range v.NumField() {
		decl := v.Type().Field(i)
		name, _, _ := strings.Cut(decl.Tag.Get("env"), ",")
		switch {
		case !decl.IsExported() || name == "-":
		case name != "":
			fields = append(fields, field{
				variable: Variable{
					Name:    prefix + name,
					Default: decl.Tag.Get("envDefault"),
					Help:    decl.Tag.Get("help"),
					Secret:  decl.Tag.Get("secret") == "true",
				},
				prefix: prefix, value: v.Field(i), decl: decl,
			})
		case decl.Type.Kind() == reflect.Struct:
			fields = append(fields, fieldsOf(v.Field(i), prefix+decl.Tag.Get("envPrefix"))...)
		}
	}
	return fields
}

// eachBlock visits the structs inside v, innermost first, then v itself.
func eachBlock(v reflect.Value, visit func(block any)) {
	for i := range v.NumField() {
		decl := v.Type().Field(i)
		if decl.IsExported() && decl.Type.Kind() == reflect.Struct && decl.Tag.Get("env") == "" {
			eachBlock(v.Field(i), visit)
		}
	}
	visit(v.Addr().Interface())
}

// structOf returns cfg as an addressable struct, so that methods with a pointer
// receiver are found too.
func structOf(cfg any) reflect.Value {
	v := reflect.ValueOf(cfg)
	if v.Kind() == reflect.Pointer {
		return v.Elem()
	}
	addressable := reflect.New(v.Type()).Elem()
	addressable.Set(v)
	return addressable
}

// read parses the variable and sets the field. A value with stray characters around
// it is a validation error.
func (f field) read(environment Environment) error {
	value := environment[f.variable.Name]
	problem := checkEnds(value, f.decl.Tag.Get("lines") == "true")
	if problem == "" {
		return f.parse(environment)
	}
	if f.variable.Default != "" {
		_ = f.parse(Environment{})
	}
	return ValidationError{Variable: f.variable.Name, Value: value, Problem: problem}
}

// checkEnds returns what is wrong with the ends of a value, or nothing. Files for
// docker's --env-file keep quotes, files from Windows keep carriage returns, and
// secrets written by echo keep a line break. With such a secret, a receiver would
// reject every signature.
func checkEnds(value string, lines bool) string {
	if value == "" {
		return ""
	}
	first, _ := utf8.DecodeRuneInString(value)
	last, _ := utf8.DecodeLastRuneInString(value)
	if len(value) > 1 && first == last && (first == '"' || first == '\'') {
		return "must not be in quotes: they are part of the value here (docker's --env-file keeps them), so leave them out"
	}
	for _, r := range []rune{first, last} {
		if !lines && (unicode.IsSpace(r) || unicode.Is(unicode.Cf, r)) {
			return fmt.Sprintf("must not begin or end with a blank, a line break or an invisible character (%U): leave it out", r)
		}
	}
	return ""
}

// parse sets the field. Each field is parsed as its own struct, because the errors
// of env contain only the name of the Go field, and several blocks have a URL or a
// Port. After an error the field holds its default, so that Validate does not report
// errors that only follow from the first.
func (f field) parse(environment Environment) error {
	single := reflect.New(reflect.StructOf([]reflect.StructField{{
		Name: f.decl.Name, Type: f.decl.Type, Tag: f.decl.Tag,
	}}))
	err := env.ParseWithOptions(single.Interface(), env.Options{Environment: environment, Prefix: f.prefix})
	if err == nil {
		f.value.Set(single.Elem().Field(0))
		return nil
	}
	if _, given := environment[f.variable.Name]; given && f.variable.Default != "" {
		_ = f.parse(Environment{})
	}
	return ValidationError{
		Variable: f.variable.Name,
		Value:    environment[f.variable.Name],
		Problem:  f.problem(err),
	}
}

// problem turns an error of env into a text for the user.
func (f field) problem(err error) string {
	var aggregate env.AggregateError
	if errors.As(err, &aggregate) && len(aggregate.Errors) > 0 {
		err = aggregate.Errors[0]
	}
	var missing env.VarIsNotSetError
	var empty env.EmptyVarError
	if errors.As(err, &missing) || errors.As(err, &empty) {
		return "must be set"
	}
	var parse env.ParseError
	if !errors.As(err, &parse) {
		return redact.OneLine(err.Error(), 300)
	}
	var own ValidationError
	if errors.As(parse.Err, &own) {
		return own.Problem
	}
	if allowed := allowedFor(f.decl.Type); allowed != "" {
		return "must be " + allowed
	}
	if f.variable.Secret {
		return "can't be read: " + f.variable.Help
	}
	return redact.OneLine(parse.Err.Error(), 300)
}

// allowedFor describes the values that a type allows. It is empty for types that
// parse themselves.
func allowedFor(t reflect.Type) string {
	if t == reflect.TypeFor[time.Duration]() {
		return "a duration such as 500ms, 30s, 2m or 1h30m, or 0"
	}
	switch t.Kind() {
	case reflect.Pointer:
		return allowedFor(t.Elem())
	case reflect.Bool:
		return "true or false"
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64, reflect.Int:
		return "a whole number"
	case reflect.Uint16:
		return "a whole number from 0 to 65535"
	case reflect.Uint8, reflect.Uint32, reflect.Uint64, reflect.Uint:
		return "a whole number, not negative"
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.Slice:
		if of := allowedFor(t.Elem()); of != "" {
			return "a list, separated by commas, each " + of
		}
	}
	return ""
}
