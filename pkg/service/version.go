package service

import (
	"runtime/debug"
	"sync"
)

// version is set by the linker:
//
//	-ldflags "-X github.com/message-dispatcher/dispatch/pkg/service.version=1.2.3"
var version string

var buildVersion = sync.OnceValue(func() string {
	info, _ := debug.ReadBuildInfo()
	return versionOf(version, info)
})

// Version names this build: the version set by the linker, else the version or
// commit recorded by the Go toolchain, else "dev". It is never empty and contains no
// spaces, so it can stand in a User-Agent.
func Version() string { return buildVersion() }

func versionOf(linked string, info *debug.BuildInfo) string {
	if linked != "" {
		return linked
	}
	if info == nil {
		return "dev"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	var revision, modified string
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			revision = s.Value
		case "vcs.modified":
			modified = s.Value
		}
	}
	if revision == "" {
		return "dev"
	}
	if len(revision) > 12 {
		revision = revision[:12]
	}
	if modified == "true" {
		revision += "+dirty"
	}
	return revision
}
