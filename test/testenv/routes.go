package testenv

import (
	"encoding/json"
	"net"
	"net/http"
	"strconv"
)

// requireProxies fails the test if a NATS server has a connection to another
// that no link is in the way of: nothing could cut it.
func (r *Installation) requireProxies() {
	r.t.Helper()
	direct := map[string]string{}
	for _, server := range r.NATS {
		direct[server.Node.Cluster] = server.Name
	}
	for _, server := range r.NATS {
		for _, dialled := range r.routes(server) {
			if to := direct[dialled]; to != "" {
				r.t.Fatalf("%s reaches %s without a link", server.Name, to)
			}
		}
	}
}

// routes lists what a server says its connections to the others lead to.
func (r *Installation) routes(server *NATS) []string {
	r.t.Helper()
	request, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, "http://"+server.Node.Monitor+"/routez", nil)
	if err != nil {
		r.t.Fatal(err)
	}
	response, err := healthClient.Do(request)
	if err != nil {
		r.t.Fatalf("routes of %s: %v", server.Name, err)
	}
	defer response.Body.Close()
	var answer struct {
		Routes []struct {
			IP   string
			Port int
		}
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		r.t.Fatalf("routes of %s: %v", server.Name, err)
	}
	if len(answer.Routes) == 0 {
		r.t.Fatalf("%s knows no other server", server.Name)
	}
	var list []string
	for _, route := range answer.Routes {
		list = append(list, net.JoinHostPort(route.IP, strconv.Itoa(route.Port)))
	}
	return list
}
