package main

import (
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// once is something that a process with a peer has one of. It is made when it is first wanted, and again if that failed.
type once[T any] struct {
	mu   sync.Mutex
	made bool // guarded by mu
	it   T    // guarded by mu
}

func (o *once[T]) get(open func() (T, error)) (T, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.made {
		return o.it, nil
	}
	it, err := open()
	if err == nil {
		o.it, o.made = it, true
	}
	return it, err
}

// dialer has the etcd client of a peer whose user makes it.
type dialer struct{ once[*clientv3.Client] }

// dial makes the client as etcd's documentation does.
func (d *dialer) dial(s settings) (*clientv3.Client, error) {
	return d.get(func() (*clientv3.Client, error) {
		return clientv3.New(clientv3.Config{
			Endpoints:   s.endpoints,
			DialTimeout: 5 * time.Second,
			Username:    s.user,
			Password:    s.password,
		})
	})
}
