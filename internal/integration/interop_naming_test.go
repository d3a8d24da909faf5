package integration

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
	"go.etcd.io/etcd/client/v3/naming/endpoints"
	etcdresolver "go.etcd.io/etcd/client/v3/naming/resolver"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// layouts are the prefixes a registry may have, with the target that means the same to etcd's client/v3/naming.
var layouts = map[string]struct {
	option rollcall.Option
	target string
}{
	"without a prefix":        {rollcall.WithPrefix(""), grpcService},
	"with the default prefix": {rollcall.WithPrefix(rollcall.DefaultPrefix), "rollcall/services/" + grpcService},
	"with a directory":        {rollcall.WithDirectory("team/a/"), "team/a/" + grpcService},
}

func TestEndpointThatEtcdsNamingAddedIsAnInstanceAndIsCalled(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	for name, layout := range layouts {
		t.Run(name, func(t *testing.T) {
			reg := grpcRegistry(t, etcd, layout.option)
			g := newGreeter(t)
			go func() { _ = g.srv.Serve(g) }()
			t.Cleanup(g.srv.Stop)
			manager, err := endpoints.NewManager(etcd.Client(t), layout.target)
			if err != nil {
				t.Fatal(err)
			}
			key := layout.target + "/one"
			err = manager.AddEndpoint(t.Context(), key, endpoints.Endpoint{Addr: g.addr, Metadata: map[string]string{"team": "a"}})
			if err != nil {
				t.Fatal(err)
			}

			view := awaitGreeters(t, reg, func(v *rollcall.View) bool { return len(v.Instances) == 1 })
			got := view.Instances[0]
			if got.ID != "one" || got.Addr != g.addr || !cmp.Equal(got.Metadata, map[string]string{"team": "a"}) || !got.Serving() {
				t.Errorf("the endpoint is the instance %+v", got)
			}
			greetUntil(t, dial(t, reg), g.addr)

			if err := manager.DeleteEndpoint(t.Context(), key); err != nil {
				t.Fatal(err)
			}
			awaitGreeters(t, reg, func(v *rollcall.View) bool { return len(v.Instances) == 0 })
		})
	}
}

func TestInstanceIsListedAndDialledByEtcdsNaming(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	for name, layout := range layouts {
		t.Run(name, func(t *testing.T) {
			reg := grpcRegistry(t, etcd, layout.option)
			a, b := startGreeter(t, reg), startGreeter(t, reg)
			client := etcd.Client(t)

			manager, err := endpoints.NewManager(client, layout.target)
			if err != nil {
				t.Fatal(err)
			}
			listed, err := manager.List(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			want := endpoints.Key2EndpointMap{
				layout.target + "/" + a.addr: {Addr: a.addr},
				layout.target + "/" + b.addr: {Addr: b.addr},
			}
			if diff := cmp.Diff(want, listed); diff != "" {
				t.Errorf("what etcd's naming lists (-want +got):\n%s", diff)
			}

			builder, err := etcdresolver.NewBuilder(client)
			if err != nil {
				t.Fatal(err)
			}
			conn, err := grpc.NewClient("etcd:///"+layout.target, grpc.WithResolvers(builder), grpc.WithNoProxy(),
				grpc.WithDefaultServiceConfig(`{"loadBalancingConfig":[{"round_robin":{}}]}`),
				grpc.WithTransportCredentials(insecure.NewCredentials()))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = conn.Close() })
			greetUntil(t, conn, a.addr, b.addr)
		})
	}
}

// What etcd's naming reads of an instance must not depend on what else we say about it.
func TestMetadataIsReadByEtcdsNaming(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	reg := grpcRegistry(t, etcd, rollcall.WithPrefix(""))
	ctx, cancel := context.WithTimeout(t.Context(), grpcPatience)
	defer cancel()
	if _, err := reg.Register(ctx, grpcService, rollcall.Instance{
		Addr: "10.0.0.7:50051", Zone: "z", Weight: 3, Metadata: map[string]string{"team": "a"}, Addrs: map[string]string{"http": "10.0.0.7:8080"},
	}); err != nil {
		t.Fatal(err)
	}
	manager, err := endpoints.NewManager(etcd.Client(t), grpcService)
	if err != nil {
		t.Fatal(err)
	}
	got, err := manager.List(ctx)
	want := endpoints.Key2EndpointMap{
		grpcService + "/10.0.0.7:50051": {Addr: "10.0.0.7:50051", Metadata: map[string]any{"team": "a"}},
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("what etcd's naming lists (-want +got): %v\n%s", err, diff)
	}
}
