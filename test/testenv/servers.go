package testenv

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/message-dispatcher/dispatch/pkg/embedded/embeddedtest"
	"github.com/message-dispatcher/dispatch/pkg/embedded/postgres"
	"github.com/message-dispatcher/dispatch/pkg/embedded/process"
	"github.com/message-dispatcher/dispatch/pkg/embedded/redis"
)

// Postgres is a PostgreSQL of the test's own with a database named dispatch.
type Postgres struct {
	*Process
	URL string // of the database
	Dir string // where it keeps its data
}

// postgresSettings make a server that dies only as a process, and never with
// its machine: what was committed is with the kernel, which need not sync it.
var postgresSettings = map[string]string{
	"fsync":            "off",
	"max_connections":  "400",
	"log_min_messages": "fatal",
}

// StartPostgres starts one; settings go on top of those that suit tests.
func StartPostgres(t testing.TB, settings map[string]string) *Postgres {
	t.Helper()
	p := &Postgres{Dir: embeddedtest.Dir(t)}
	output, port := &embeddedtest.Output{}, portOf(embeddedtest.FreeAddr(t))
	merged := with(postgresSettings)
	for name, value := range settings {
		merged[name] = value
	}
	p.Process = newProcess(t, "postgres", output, func(ctx context.Context) (server, error) {
		pg, err := postgres.Start(ctx, postgres.Config{Dir: p.Dir, Port: port, Settings: merged, Log: output})
		if err != nil {
			return nil, err
		}
		p.URL = pg.URL("dispatch")
		if err := pg.CreateDatabase(ctx, "dispatch"); err != nil {
			return nil, errors.Join(err, pg.Stop(ctx))
		}
		return pg, nil
	})
	p.Start()
	return p
}

// Redis is a Redis of the test's own, which keeps its data over restarts.
type Redis struct {
	*Process
	URL string
	Dir string
}

// StartRedis starts one.
func StartRedis(t testing.TB) *Redis {
	t.Helper()
	r := &Redis{Dir: embeddedtest.Dir(t)}
	output, port := &embeddedtest.Output{}, portOf(embeddedtest.FreeAddr(t))
	r.Process = newProcess(t, "redis", output, func(ctx context.Context) (server, error) {
		redis, err := redis.Start(ctx, redis.Config{Dir: r.Dir, Port: port, Log: output})
		if err != nil {
			return nil, err
		}
		r.URL = redis.URL()
		return redis, nil
	})
	r.Start()
	return r
}

// NATS is one nats-server, alone or of a cluster.
type NATS struct {
	*Process
	Node NATSNode
	URL  string
}

// NATSNode is what a configuration of nats-server is written from.
type NATSNode struct {
	Number  int      // from 1
	Name    string   // unique in the cluster
	Listen  string   // host:port for clients
	Cluster string   // host:port for the other servers
	Monitor string   // host:port for questions about the server
	Dir     string   // where it keeps its streams
	Routes  []string // to the others, quoted
}

// nowhere is an address that leads to no server.
const nowhere = "127.0.0.1:1"

// Config is the configuration that a node has unless a test brings its own.
// It syncs every second, like the embedded server. Servers tell each other of
// the others' addresses and dial what they hear of; all that they hear is
// nowhere, so that they have no way but their configured routes.
func (n NATSNode) Config() string {
	text := fmt.Sprintf("server_name: %s\nlisten: %q\nhttp: %q\njetstream { store_dir: %q, max_file_store: 1TB, sync_interval: 1s }\n",
		n.Name, n.Listen, n.Monitor, n.Dir)
	if len(n.Routes) > 0 {
		text += fmt.Sprintf("cluster { name: test, listen: %q, advertise: %q, no_advertise: true, routes: [%s] }\n",
			n.Cluster, nowhere, strings.Join(n.Routes, ", "))
	}
	return text
}

// StartNATS starts so many servers, a cluster if more than one. config writes
// a node's configuration; nil means NATSNode.Config.
func StartNATS(t testing.TB, nodes int, config func(NATSNode) string) []*NATS {
	t.Helper()
	return startNATS(t, nodes, config, func(_, _, address string) string { return address })
}

// startNATS is StartNATS with a say in the way by which one server reaches
// another.
func startNATS(t testing.TB, nodes int, config func(NATSNode) string, way func(from, to, address string) string) []*NATS {
	t.Helper()
	if config == nil {
		config = NATSNode.Config
	}
	list := make([]*NATS, nodes)
	for i := range list {
		list[i] = &NATS{Node: NATSNode{
			Number: i + 1, Name: natsName(i+1, nodes), Listen: embeddedtest.FreeAddr(t), Cluster: embeddedtest.FreeAddr(t), Monitor: embeddedtest.FreeAddr(t), Dir: t.TempDir(),
		}}
	}
	program := BuildNATS(t)
	for _, n := range list {
		for _, other := range list {
			if other != n {
				n.Node.Routes = append(n.Node.Routes, strconv.Quote(way(n.Node.Name, other.Node.Name, "nats://"+other.Node.Cluster)))
			}
		}
		n.URL = "nats://" + n.Node.Listen
		n.Process = newNATS(t, program, n.Node, config)
		n.Start()
	}
	return list
}

func newNATS(t testing.TB, program string, node NATSNode, config func(NATSNode) string) *Process {
	output, file := &embeddedtest.Output{}, filepath.Join(t.TempDir(), "nats.conf")
	return newProcess(t, node.Name, output, func(ctx context.Context) (server, error) {
		if err := os.WriteFile(file, []byte(config(node)), 0o600); err != nil {
			return nil, err
		}
		p, err := process.Start(process.Config{Path: program, Args: []string{"-c", file}, Output: output, Signal: syscall.SIGINT, Grace: WaitTimeout})
		if err != nil {
			return nil, err
		}
		if err := awaitNATS(ctx, p, node.Listen); err != nil {
			p.Kill()
			return nil, err
		}
		return p, nil
	})
}

// awaitNATS waits for the first word of a server.
func awaitNATS(ctx context.Context, p *process.Process, addr string) error {
	for {
		if line := greeting(addr); strings.HasPrefix(line, "INFO") {
			return nil
		}
		select {
		case <-p.Done():
			return p.Err()
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func greeting(addr string) string {
	conn, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return ""
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Second))
	line, _ := bufio.NewReader(conn).ReadString('\n') // what is no greeting is asked for again
	return line
}

func portOf(addr string) int {
	_, text, _ := net.SplitHostPort(addr)
	port, _ := strconv.Atoi(text) // FreeAddr made it
	return port
}

func natsName(number, nodes int) string {
	if nodes == 1 {
		return "nats"
	}
	return fmt.Sprintf("nats-%d", number)
}
