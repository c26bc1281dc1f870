package service

import (
	"runtime/debug"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestVersion(t *testing.T) {
	t.Parallel()
	info := func(main string, settings ...string) *debug.BuildInfo {
		b := &debug.BuildInfo{Main: debug.Module{Version: main}}
		for i := 0; i < len(settings); i += 2 {
			b.Settings = append(b.Settings, debug.BuildSetting{Key: settings[i], Value: settings[i+1]})
		}
		return b
	}
	for name, tt := range map[string]struct {
		linked string
		info   *debug.BuildInfo
		want   string
	}{
		"linked":        {"1.2.3", info("v9"), "1.2.3"},
		"module":        {"", info("v1.0.0"), "v1.0.0"},
		"commit":        {"", info("(devel)", "vcs.revision", "0123456789abcdef", "vcs.modified", "false"), "0123456789ab"},
		"dirty commit":  {"", info("", "vcs.revision", "0123", "vcs.modified", "true"), "0123+dirty"},
		"nothing known": {"", info("(devel)"), "dev"},
		"no build info": {"", nil, "dev"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			assert.Equal(t, tt.want, versionOf(tt.linked, tt.info))
		})
	}
	assert.NotEmpty(t, Version())
}
