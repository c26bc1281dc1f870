package settings

import (
	"net"
	"net/url"
	"reflect"
	"slices"
	"strings"
)

// ignoredWarnings returns a warning for each field of a block that differs from its
// default, except for the effective ones.
func ignoredWarnings(block any, reason string, effective ...string) []string {
	var warnings []string
	for _, f := range fieldsOf(structOf(block), "") {
		initial := reflect.New(f.decl.Type).Elem()
		given := field{f.variable, f.prefix, initial, f.decl}
		_ = given.parse(Environment{}) // a field without a default stays empty
		if !slices.Contains(effective, f.variable.Name) && !f.value.IsZero() && !f.value.Equal(initial) {
			warnings = append(warnings, f.variable.Name+" is ignored, "+reason)
		}
	}
	return warnings
}

// validEscaping returns a validation error if a part of a URL's password would be
// read as something else: postgres://u:12/3@host has the host u, and a # ends every
// URL. Without this check the program would connect with a wrong password or host.
func validEscaping(variable, raw string) error {
	const advice = "must have the special characters of user and password percent-encoded: # is %23, / is %2F, ? is %3F, @ is %40, % is %25"
	if strings.Contains(raw, "#") {
		return Invalid(variable, Hidden, advice)
	}
	_, rest, _ := strings.Cut(raw, "://")
	authority := rest
	if at := strings.IndexAny(rest, "/?"); at >= 0 {
		authority = rest[:at]
	}
	path, query, _ := strings.Cut(rest[len(authority):], "?")
	parameter, _, _ := strings.Cut(query, "=")
	if authority != "" && !strings.Contains(authority, "@") && strings.Contains(path+parameter, "@") {
		return Invalid(variable, Hidden, advice)
	}
	return nil
}

// isRestOfPassword reports whether a server in a list is really the part after a
// comma in the previous server's password: nats://u:12,3@host.
func isRestOfPassword(before, server string) bool {
	user, _, found := strings.Cut(server, "@")
	return found && !strings.Contains(user, ":") && strings.Contains(before, "://") && !strings.Contains(before, "@")
}

func hasPassword(u *url.URL) bool {
	password, _ := u.User.Password()
	return password != ""
}

// validHost returns a validation error unless host is a name, an address or the
// directory of a socket.
func validHost(variable, host string) error {
	address := net.ParseIP(strings.Trim(host, "[]"))
	if strings.HasPrefix(host, "/") || address != nil || !strings.ContainsAny(host, ":/@?#[] \t") {
		return nil
	}
	return Invalid(variable, host, "must be a host name or an address alone, without scheme, user, port and path")
}
