package settings

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// Variable describes one environment variable.
type Variable struct {
	Name    string
	Default string // in the notation of the environment; empty if there is none
	Help    string // one line
	Secret  bool   // the value is never shown
}

// Describe lists the variables of configurations in the order of their fields, each
// name once. .env.example and the tables of the documentation are generated from
// it. A configuration is a struct as Load takes it, or a pointer to one.
func Describe(cfgs ...any) []Variable {
	var variables []Variable
	seen := map[string]bool{}
	for _, cfg := range cfgs {
		for _, f := range fieldsOf(structOf(cfg), "") {
			if !seen[f.variable.Name] {
				seen[f.variable.Name] = true
				variables = append(variables, f.variable)
			}
		}
	}
	return variables
}

// Warnings lists what is probably a mistake, one line each: the configurations' own
// warnings, unknown names that begin with DISPATCH_, and unknown names that are
// similar to settings.
func Warnings(environment Environment, cfgs ...any) []string {
	var warnings []string
	for _, cfg := range cfgs {
		eachBlock(structOf(cfg), func(block any) {
			b, ok := block.(interface{ Warnings() []string })
			if !ok {
				return
			}
			for _, w := range b.Warnings() {
				if !slices.Contains(warnings, w) {
					warnings = append(warnings, w)
				}
			}
		})
	}
	known := Describe(cfgs...)
	for _, name := range slices.Sorted(maps.Keys(environment)) {
		if isKnown(name, known) || isServiceLink(environment, name) {
			continue
		}
		if hint := didYouMean(name, known); strings.HasPrefix(name, "DISPATCH_") {
			warnings = append(warnings, name+" is not known and has no effect"+hint)
		} else if near := similarSetting(name, known); near != "" {
			warnings = append(warnings, name+" is not known and has no effect; did you mean "+near+"?")
		}
	}
	return warnings
}

// Names of the variables with which the dispatch command finds the API. They are
// not settings of a service, but no mistake in its environment either.
const (
	EnvAPIURL = "DISPATCH_URL"
	EnvAPIKey = "DISPATCH_API_KEY"
)

func isKnown(name string, known []Variable) bool {
	return name == EnvAPIURL || name == EnvAPIKey || slices.ContainsFunc(known, func(v Variable) bool { return v.Name == name })
}

var serviceLink = regexp.MustCompile(`_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$`)

// isServiceLink reports whether Kubernetes has set the variable. It sets several in
// every pod for each service of the namespace, and our services are likely to be
// named dispatch-….
func isServiceLink(environment Environment, name string) bool {
	if environment["KUBERNETES_SERVICE_HOST"] == "" {
		return false
	}
	return serviceLink.MatchString(name) ||
		strings.HasSuffix(name, "_PORT") && strings.Contains(environment[name], "://")
}

// didYouMean returns a hint with the most similar setting. It compares with and
// without the prefix, because most settings have none.
func didYouMean(name string, known []Variable) string {
	best, least := "", 3
	for _, v := range known {
		for _, candidate := range []string{name, strings.TrimPrefix(name, "DISPATCH_")} {
			if d := distance(candidate, v.Name); d < least {
				best, least = v.Name, d
			}
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %s?", best)
}

// otherNames maps names that other programs use to our settings.
var otherNames = map[string]string{
	"API_KEY": "API_KEYS", "DB_DATABASE": "DB_NAME", "DB_PASS": "DB_PASSWORD", "DB_USERNAME": "DB_USER",
	"REDIS_AUTH": "REDIS_PASSWORD", "REDIS_PASS": "REDIS_PASSWORD", "REDIS_USERNAME": "REDIS_USER",
}

// similarSetting returns the setting that the name most likely means: the name
// differs by one letter or is common in other programs. Empty if there is none.
func similarSetting(name string, known []Variable) string {
	for _, v := range known {
		long := strings.Contains(v.Name, "_")
		if otherNames[name] == v.Name || long && distance(name, v.Name) == 1 {
			return v.Name
		}
	}
	return ""
}

// distance is the Levenshtein distance: the number of letters to insert, delete or
// change.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
