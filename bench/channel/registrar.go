//go:build unix

package channel

import (
	"context"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/naming/endpoints"

	"github.com/rollcall-io/rollcall"
)

// patience is how long an instance is looked for: who needs longer is told to have needed this.
const patience = 10 * time.Second

// registrar registers instances one after the other, as the library's users would.
type registrar struct {
	join  func(addr string) (leave func() error, err error)
	leave func() error
}

// registration registers an instance, or takes it away, and tells when it began.
func (p *program) registration(o order) reading {
	if p.register.join == nil {
		p.register.join = p.joiner()
	}
	r := reading{At: time.Now()}
	var err error
	if o.Do == "register" {
		p.register.leave, err = p.register.join(o.Addr)
	} else {
		err = p.register.leave()
	}
	if err != nil {
		r.Failed = err.Error()
	}
	return r
}

func (p *program) joiner() func(string) (func() error, error) {
	switch p.Resolver {
	case "rollcall":
		return p.joinRollcall()
	case "etcd":
		return p.joinEtcd()
	case "":
		return p.joinRaw()
	}
	return func(addr string) (func() error, error) { return p.library.Register(p.Etcd, p.Service, addr) }
}

// joinRollcall has a registry with a lease, as a process has that has registered something before.
func (p *program) joinRollcall() func(string) (func() error, error) {
	ctx := context.Background()
	if _, err := p.reg.Register(ctx, p.Service+"-before", rollcall.Instance{Addr: "10.255.255.255:1"}); err != nil {
		fail(err)
	}
	return func(addr string) (func() error, error) {
		r, err := p.reg.Register(ctx, p.Service, rollcall.Instance{Addr: addr})
		if err != nil {
			return nil, err
		}
		return func() error { return r.Deregister(ctx) }, nil
	}
}

// joinEtcd registers by the endpoint manager of client/v3/naming, with a lease for each instance, as its documentation does.
func (p *program) joinEtcd() func(string) (func() error, error) {
	ctx, client := context.Background(), p.client()
	target := instances + p.Service
	manager, err := endpoints.NewManager(client, target)
	if err != nil {
		fail(err)
	}
	return func(addr string) (func() error, error) {
		lease, err := client.Grant(ctx, 15)
		if err != nil {
			return nil, err
		}
		registered, end := context.WithCancel(ctx)
		alive, err := client.KeepAlive(registered, lease.ID)
		if err != nil {
			end()
			return nil, err
		}
		go func() { // until it ends
			for range alive {
			}
		}()
		key := target + "/" + addr
		if err := manager.AddEndpoint(ctx, key, endpoints.Endpoint{Addr: addr}, clientv3.WithLease(lease.ID)); err != nil {
			end()
			return nil, err
		}
		return func() error {
			defer end()
			return manager.DeleteEndpoint(ctx, key)
		}, nil
	}
}

// joinRaw puts keys that must not be there, under a lease that is: the least that a registration takes.
func (p *program) joinRaw() func(string) (func() error, error) {
	ctx, client := context.Background(), p.client()
	lease, err := client.Grant(ctx, 3600)
	if err != nil {
		fail(err)
	}
	return func(addr string) (func() error, error) {
		key := instances + p.Service + "/" + addr
		resp, err := client.Txn(ctx).
			If(clientv3.Compare(clientv3.CreateRevision(key), "=", 0)).
			Then(clientv3.OpPut(key, fmt.Sprintf(`{"Op":0,"Addr":%q}`, addr), clientv3.WithLease(lease.ID))).Commit()
		if err == nil && !resp.Succeeded {
			err = fmt.Errorf("%s is there already", key)
		}
		return func() error {
			_, err := client.Delete(ctx, key)
			return err
		}, err
	}
}
