//go:build linux

package registry

import (
	"context"
	"fmt"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/rollcall-io/rollcall"
)

const (
	perService = 100                  // instances
	markerAddr = "10.255.255.255:443" // of the instance by which it shows that a view is current
	directory  = "rollcall/services/" // of rollcall, and of those that write as it does
)

// service is the name of the n-th service. None is the beginning of another: some libraries would mix them up.
func service(n int) string { return fmt.Sprintf("svc-%06d", n) }

// addr is where the n-th instance is.
func addr(n int) string { return fmt.Sprintf("10.%d.%d.%d:50051", n>>16, n>>8&255, n&255) }

// layout is how somebody writes an instance.
type layout func(service, addr string) (key, value string)

// rollcallLayout is also read by etcd's own naming package, whose value it is, with more in it.
func rollcallLayout(dir string) layout {
	return func(service, addr string) (key, value string) {
		return dir + service + "/" + addr, fmt.Sprintf(`{"Op":0,"Addr":%q,"Metadata":{"build":"20261122","team":"a"},"ID":%[1]q,"Incarnation":"ABCDEFGHIJKLMNOPQRSTUVWXYZ",`+
			`"Holder":"ABCDEFGHIJKLMNOPQRSTUVWXYZ","State":"serving","Weight":100,"Zone":"eu-1a","Version":"1.2.3","TTL":15,"Registered":"2026-11-22T06:31:00Z"}`, addr)
	}
}

// goZeroLayout has the address and nothing else.
func goZeroLayout(service, addr string) (key, value string) { return service + "/" + addr, addr }

func kratosLayout(service, addr string) (key, value string) {
	return "/microservices/" + service + "/" + addr,
		fmt.Sprintf(`{"id":%q,"name":%q,"version":"1.2.3","metadata":{"build":"20261122","team":"a"},"endpoints":["grpc://%[1]s"]}`, addr, service)
}

// layoutOf is how a contender finds an instance.
func layoutOf(contender string) layout {
	switch contender {
	case "gozero":
		return goZeroLayout
	case "kratos":
		return kratosLayout
	}
	return rollcallLayout(directory)
}

// fill writes so many services of so many instances each, under one lease, in few transactions at a time.
func fill(tb testing.TB, endpoint string, write layout, services, instances int) {
	tb.Helper()
	client, err := clientv3.New(rollcall.ClientConfig(endpoint))
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	ctx, cancel := context.WithTimeout(tb.Context(), patience)
	defer cancel()
	lease, err := client.Grant(ctx, 3600)
	if err != nil {
		tb.Fatal(err)
	}
	const atOnce = 125 // etcd takes 128
	all := services * instances
	err = each((all+atOnce-1)/atOnce, 4, func(part int) error {
		var ops []clientv3.Op
		for n := part * atOnce; n < min((part+1)*atOnce, all); n++ {
			key, value := write(service(n/instances), addr(n))
			ops = append(ops, clientv3.OpPut(key, value, clientv3.WithLease(lease.ID)))
		}
		_, err := client.Txn(ctx).Then(ops...).Commit()
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
}
