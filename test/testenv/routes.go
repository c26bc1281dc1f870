package testenv

import (
	"encoding/json"
	"net"
	"net/http"
	"strconv"
)

// requireProxies fails the test if a NATS server has a connection to another
// without a proxy: nothing could cut it.
func (inst *Installation) requireProxies() {
	inst.t.Helper()
	direct := map[string]string{}
	for _, server := range inst.NATS {
		direct[server.Node.Cluster] = server.Name
	}
	for _, server := range inst.NATS {
		for _, dialled := range inst.routes(server) {
			if to := direct[dialled]; to != "" {
				inst.t.Fatalf("%s reaches %s without a proxy", server.Name, to)
			}
		}
	}
}

// routes lists what a server says its connections to the others lead to.
func (inst *Installation) routes(server *NATS) []string {
	inst.t.Helper()
	request, err := http.NewRequestWithContext(inst.t.Context(), http.MethodGet, "http://"+server.Node.Monitor+"/routez", nil)
	if err != nil {
		inst.t.Fatal(err)
	}
	response, err := healthClient.Do(request)
	if err != nil {
		inst.t.Fatalf("routes of %s: %v", server.Name, err)
	}
	defer response.Body.Close()
	var answer struct {
		Routes []struct {
			IP   string
			Port int
		}
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		inst.t.Fatalf("routes of %s: %v", server.Name, err)
	}
	if len(answer.Routes) == 0 {
		inst.t.Fatalf("%s knows no other server", server.Name)
	}
	var list []string
	for _, route := range answer.Routes {
		list = append(list, net.JoinHostPort(route.IP, strconv.Itoa(route.Port)))
	}
	return list
}
