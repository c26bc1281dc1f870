package rpc

import (
	"regexp"
	"strings"
)

var (
	semver     = regexp.MustCompile(`^\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$`)
	notInBuild = regexp.MustCompile(`[^0-9A-Za-z-]+`)
)

// ServiceVersion makes of a program's version one that micro takes: SemVer.
func ServiceVersion(version string) string {
	version = strings.TrimPrefix(version, "v")
	if semver.MatchString(version) {
		return version
	}
	return "0.0.0+" + strings.Trim(notInBuild.ReplaceAllString(version, "."), ".")
}
