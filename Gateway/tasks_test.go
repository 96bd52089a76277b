package main

import (
	"context"
	"errors"
	"net"
	"net/http/httptest"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// web is the service in a container whose network is 10.0.1.0/24, with what DNS says of it.
func web(says ...string) *Tasks {
	_, network, _ := net.ParseCIDR("10.0.1.0/24")
	return &Tasks{Service: "web", Port: "8080", near: []*net.IPNet{network},
		lookup: func(_ context.Context, kind, name string) ([]net.IP, error) {
			if kind != "ip4" || name != "tasks.web." {
				return nil, errors.New("no such name: " + name)
			}
			var found []net.IP
			for _, one := range says {
				found = append(found, net.ParseIP(one))
			}
			return found, nil
		}}
}

func dialled(t *testing.T, tasks *Tasks) []string {
	t.Helper()
	found, err := tasks.GetUpstreams(httptest.NewRequest("GET", "/", nil))
	if (err == nil) != (len(found) > 0) {
		t.Fatalf("%v with the error %v", found, err)
	}
	var addresses []string
	for _, one := range found {
		addresses = append(addresses, one.Dial)
	}
	return addresses
}

func TestTasksComeInTheSameOrderWhateverDNSSaysFirst(t *testing.T) {
	for _, says := range [][]string{{"10.0.1.9", "10.0.1.10"}, {"10.0.1.10", "10.0.1.9"}} {
		if found := dialled(t, web(says...)); !slices.Equal(found, []string{"10.0.1.9:8080", "10.0.1.10:8080"}) {
			t.Error(found)
		}
	}
}

func TestAnAddressOutsideTheSwarmsNetworkIsNoTask(t *testing.T) {
	if found := dialled(t, web("192.168.1.66", "127.0.0.1", "10.0.2.1")); found != nil {
		t.Error(found)
	}
	if found := dialled(t, web("6.6.6.6", "10.0.1.9")); !slices.Equal(found, []string{"10.0.1.9:8080"}) {
		t.Error(found)
	}
}

func TestThisMachineItselfIsNoTask(t *testing.T) {
	tasks := web()
	if err := tasks.Provision(caddy.Context{}); err != nil {
		t.Fatal(err)
	}
	tasks.lookup = web("127.0.0.1").lookup
	if found := dialled(t, tasks); found != nil {
		t.Error(found)
	}
}

func TestADNSThatSaysNothingIsGivenUpAndNobodyElseWaitsForIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		silent := web()
		silent.lookup = func(ctx context.Context, _, _ string) ([]net.IP, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		start := time.Now()
		gone := make(chan time.Duration)
		go func() {
			_, _ = silent.GetUpstreams(httptest.NewRequest("GET", "/", nil))
			gone <- time.Since(start)
		}()
		synctest.Wait()
		if found := dialled(t, web("10.0.1.9")); len(found) != 1 || time.Since(start) != 0 {
			t.Error(found, time.Since(start))
		}
		if took := <-gone; took != patience {
			t.Error(took)
		}
	})
}

func TestTheDirectiveTakesAServiceAndAPort(t *testing.T) {
	for text, right := range map[string]bool{"tasks web 8080": true, "tasks web": false, "tasks web 8080 x": false} {
		var tasks Tasks
		err := tasks.UnmarshalCaddyfile(caddyfile.NewTestDispenser(text))
		if (err == nil) != right || right && (tasks.Service != "web" || tasks.Port != "8080") {
			t.Errorf("%s: %+v %v", text, tasks, err)
		}
	}
}
