//go:build linux

package server

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"

	"github.com/rollcall-io/rollcall"
)

// etcd is one of a single member that does not sync its writes: the disk is nobody's cost here.
type etcd struct {
	*process
	addr   string
	client *clientv3.Client
}

func startEtcd(b *testing.B) *etcd {
	b.Helper()
	e := &etcd{process: play(b, "etcd", b.TempDir())}
	e.ask(b, nil, &e.addr)
	client, err := clientv3.New(rollcall.ClientConfig(e.addr))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = client.Close() })
	e.client = client
	return e
}

func (e *etcd) host() host { return host{[]int{e.pid}, []string{e.addr}} }

var requestsSent = regexp.MustCompile(`(?m)^grpc_server_msg_received_total\{.*\} (\S+)$`)

// requests is how many messages etcd was sent, on streams as well.
func (e *etcd) requests(b *testing.B) float64 {
	b.Helper()
	return number(b, requestsSent, get(b, "http://"+e.addr+"/metrics"))
}

// commit writes many keys.
func (e *etcd) commit(b *testing.B, ops []clientv3.Op) {
	b.Helper()
	for len(ops) > 0 {
		n := min(len(ops), 125)
		if _, err := e.client.Txn(b.Context()).Then(ops[:n]...).Commit(); err != nil {
			b.Fatal(err)
		}
		ops = ops[n:]
	}
}

// playEtcd is etcd with all that its users may have: its HTTP gateway, and its profiles, by which its memory is known.
func playEtcd(p *player) error {
	var dir string
	if err := p.args(&dir); err != nil {
		return err
	}
	for range 20 {
		e, at, err := launchEtcd(dir)
		if _, taken := errors.AsType[*net.OpError](err); taken {
			continue
		}
		if err != nil {
			return err
		}
		<-e.Server.ReadyNotify()
		if err := p.say(at); err != nil {
			return err
		}
		return p.untilLeft()
	}
	return errors.New("somebody takes every port that was free a moment ago")
}

func launchEtcd(dir string) (*embed.Etcd, string, error) {
	at, err := freeAddr()
	if err != nil {
		return nil, "", err
	}
	client, peer := url.URL{Scheme: "http", Host: at}, url.URL{Scheme: "http", Host: "127.0.0.1:0"}
	cfg := embed.NewConfig()
	cfg.Dir = dir
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{client}, []url.URL{client}
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = []url.URL{peer}, []url.URL{peer}
	cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
	cfg.UnsafeNoFsync, cfg.EnableGRPCGateway, cfg.EnablePprof = true, true, true
	log := zap.NewProductionConfig()
	log.Level = zap.NewAtomicLevelAt(zap.WarnLevel)
	logger, err := log.Build()
	if err != nil {
		return nil, "", err
	}
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(logger)
	e, err := embed.StartEtcd(cfg)
	return e, at, err
}

func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("look for a free port: %w", err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String(), nil
}

// instanceKey is where the library writes an instance.
func instanceKey(prefix, service, id string) string {
	return prefix + "/services/" + service + "/" + id
}

// instanceOp writes an instance as the library does, without a lease: nothing here ends by itself. Each turn has a weight of its own.
func instanceOp(prefix, service string, n, turn int) clientv3.Op {
	addr := fmt.Sprintf("10.%d.%d.%d:8080", n>>16, n>>8&255, n&255)
	return clientv3.OpPut(instanceKey(prefix, service, addr), fmt.Sprintf(
		`{"Op":0,"Addr":%q,"Metadata":{"team":"jie"},"ID":%q,"Incarnation":"0123456789abcdef0123456789abcdef","Holder":"fedcba9876543210","State":"serving",`+
			`"Weight":%d,"Zone":"a","Version":"v1.2.3","TTL":15,"Registered":"2026-11-22T06:31:00Z"}`, addr, addr, 100+turn))
}

// fill writes so many instances of a service.
func (e *etcd) fill(b *testing.B, prefix, service string, instances int) {
	b.Helper()
	ops := make([]clientv3.Op, instances)
	for n := range ops {
		ops[n] = instanceOp(prefix, service, n, 0)
	}
	e.commit(b, ops)
}
