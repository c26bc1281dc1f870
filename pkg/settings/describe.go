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
	Default string // as it would be written in the environment; empty for none
	Help    string // one line
	Secret  bool   // the value is never shown
}

// Describe lists the variables of configurations in the order of their fields,
// each name once, so that .env.example and the tables of the documentation come
// from the code. A configuration is a struct as Load takes it, or a pointer to
// one.
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

// Warnings lists, in lines for people, what is probably not meant: the
// configuration's own warnings, names beginning with DISPATCH_ that none of the
// configurations has, and other names that are nearly those of settings.
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
		} else if near := nearly(name, known); near != "" {
			warnings = append(warnings, name+" is not known and has no effect; did you mean "+near+"?")
		}
	}
	return warnings
}

// The names by which the dispatch command finds the API. They are no service's
// settings, and nobody's mistake in a service's environment.
const (
	EnvAPIURL = "DISPATCH_URL"
	EnvAPIKey = "DISPATCH_API_KEY"
)

func isKnown(name string, known []Variable) bool {
	return name == EnvAPIURL || name == EnvAPIKey || slices.ContainsFunc(known, func(v Variable) bool { return v.Name == name })
}

var serviceLink = regexp.MustCompile(`_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$`)

// isServiceLink recognises what Kubernetes itself sets in every pod for each
// service of the namespace, and ours are likely to be called dispatch-…
func isServiceLink(environment Environment, name string) bool {
	if environment["KUBERNETES_SERVICE_HOST"] == "" {
		return false
	}
	return serviceLink.MatchString(name) ||
		strings.HasSuffix(name, "_PORT") && strings.Contains(environment[name], "://")
}

// didYouMean looks for the nearest known name, with and without the prefix,
// since most names have none.
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

// otherNames are what other programs call settings of ours.
var otherNames = map[string]string{
	"API_KEY": "API_KEYS", "DB_DATABASE": "DB_NAME", "DB_PASS": "DB_PASSWORD", "DB_USERNAME": "DB_USER",
	"REDIS_AUTH": "REDIS_PASSWORD", "REDIS_PASS": "REDIS_PASSWORD", "REDIS_USERNAME": "REDIS_USER",
}

// nearly returns the setting that a name is surely meant for: it is off by one
// letter, or the usual name elsewhere.
func nearly(name string, known []Variable) string {
	for _, v := range known {
		long := strings.Contains(v.Name, "_")
		if otherNames[name] == v.Name || long && distance(name, v.Name) == 1 {
			return v.Name
		}
	}
	return ""
}

// distance is Levenshtein's: how many letters must be put in, left out or
// changed.
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
