package postgres

import (
	"fmt"
	"maps"
	"regexp"
	"slices"

	"github.com/message-dispatcher/dispatch/pkg/embedded/internal/datadir"
)

// defaults suit a small private server: little memory, full durability.
var defaults = map[string]string{
	"listen_addresses":        datadir.Host,
	"unix_socket_directories": "",
	"max_connections":         "100",
	"shared_buffers":          "128MB",
	"password_encryption":     "scram-sha-256",
	"jit":                     "off", // compiling costs more than these short queries take
	"timezone":                "UTC",
	"log_timezone":            "UTC",
	"lc_messages":             "C", // log lines are looked at, see retryable
	"log_min_messages":        "warning",
	"log_destination":         "stderr",
	"logging_collector":       "off",
	"cluster_name":            "dispatch",
	// Files in the data directory are removed with it. Segments in the system's
	// shared memory would remain after a server is killed.
	"dynamic_shared_memory_type": "mmap",
}

// ephemeralSettings are added with Ephemeral. A crash may corrupt the data, which
// nobody reads again.
var ephemeralSettings = map[string]string{
	"fsync":              "off",
	"synchronous_commit": "off",
	"full_page_writes":   "off",
	"wal_level":          "minimal",
	"max_wal_senders":    "0",
}

var settingName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.]*$`)

// arguments returns the settings as command-line arguments, which override
// postgresql.conf. They are sorted, so that process lists are easy to compare.
func arguments(cfg Config) ([]string, error) {
	settings := maps.Clone(defaults)
	if cfg.Ephemeral {
		maps.Copy(settings, ephemeralSettings)
	}
	maps.Copy(settings, cfg.Settings)
	var args []string
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		if !settingName.MatchString(name) {
			return nil, fmt.Errorf("%q is no name of a PostgreSQL setting", name)
		}
		args = append(args, "-c", name+"="+settings[name])
	}
	return args, nil
}
