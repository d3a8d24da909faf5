package judge

import (
	"context"
	"sync"
	"time"

	"github.com/rollcall-io/rollcall/chaos/journal"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
)

// What a [Recorder] tells beyond the journal's own words.
const (
	// Listed is the Name of a Put that was not watched but listed, because etcd had compacted it. All of them together,
	// up to the next Floor event, are the whole store.
	Listed = "listed"
	// Replayed is the Name of a Put or a Deleted that the store before already had at the same revision: a backup
	// brought it along.
	Replayed = "replayed"
	// Floor says that the Puts listed before it are all that the store held at Revision of Epoch. What was before is
	// not known.
	Floor journal.Kind = "floor"
	// Hole says that what happened after Revision of Epoch has been lost, until the next Floor. Err tells why.
	Hole journal.Kind = "hole"
	// Contradiction says that members of etcd tell different histories: Err.
	Contradiction journal.Kind = "contradiction"
	// Synced says that the record of Epoch is complete up to Revision.
	Synced journal.Kind = "synced"
)

// pause is how long a member that does not answer is left alone.
const pause = 200 * time.Millisecond

// Recorder writes down everything that happens in etcd's store: it watches every member by a watch of its own, and tells
// what the first one brings and whether the others agree. Its methods may be used concurrently, but for [Recorder.Rewritten]
// and [Recorder.Close], which must not run beside one another.
type Recorder struct {
	endpoints          []string
	out                *journal.Writer
	prefix             string
	username, password string

	ctx    context.Context // of the present epoch's watches
	cancel context.CancelFunc
	wg     sync.WaitGroup

	listing sync.Mutex // held by the member that lists; taken before mu
	mu      sync.Mutex
	epoch   int                // guarded by mu, as all below
	history *history           // of the present epoch
	doubts  map[*member]*doubt // of members whose watches have stopped
	changed chan struct{}      // closed, and replaced, when one of the above changes
}

// Option is an option of [Record].
type Option func(*Recorder)

// WithPrefix says where the registry lies in etcd; rollcall unless said otherwise. Values elsewhere are not understood.
func WithPrefix(prefix string) Option { return func(r *Recorder) { r.prefix = prefix } }

// WithLogin gives the name and password of a user who may read everything, for an etcd with authentication.
func WithLogin(username, password string) Option {
	return func(r *Recorder) { r.username, r.password = username, password }
}

// Record begins to write down what happens in etcd, from the store's first revision on. The endpoints are those of all
// members. Members need not be up.
func Record(endpoints []string, out *journal.Writer, opts ...Option) *Recorder {
	r := &Recorder{endpoints: endpoints, out: out, prefix: "rollcall", changed: make(chan struct{})}
	for _, opt := range opts {
		opt(r)
	}
	r.begin(newHistory(nil))
	return r
}

// begin watches every member from the beginning of a history.
func (r *Recorder) begin(h *history) {
	r.mu.Lock()
	r.history, r.doubts = h, map[*member]*doubt{}
	r.mu.Unlock()
	r.ctx, r.cancel = context.WithCancel(context.Background())
	for _, endpoint := range r.endpoints {
		m := &member{r: r, endpoint: endpoint}
		r.wg.Go(func() { m.follow(r.ctx) })
	}
}

// Rewritten says that etcd has another store than before, by a wipe or a restore, as its name says. Call it once etcd is
// up again: what is told from then on is of a new epoch. Nothing of the new store is told in the old epoch, unless the old
// one had it too.
func (r *Recorder) Rewritten(name string) {
	r.cancel()
	r.wg.Wait()
	r.mu.Lock()
	r.epoch++
	r.out.Tell(journal.Event{What: journal.Rewritten, Epoch: r.epoch, Name: name})
	former := r.history
	r.mu.Unlock()
	r.begin(newHistory(former))
}

// Close ends the record and returns when nothing of it runs any more. What kept members from being watched to the end, it
// tells.
func (r *Recorder) Close() {
	r.cancel()
	r.wg.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	for m, d := range r.doubts {
		r.tellDoubt(m, d)
	}
	r.doubts = nil
}

// dial makes a client of one member. With a login it waits until the member has answered.
func (r *Recorder) dial(ctx context.Context, endpoint string) (*clientv3.Client, error) {
	return clientv3.New(clientv3.Config{
		Endpoints: []string{endpoint}, Context: ctx, Logger: zap.NewNop(),
		Username: r.username, Password: r.password, DialTimeout: 2 * time.Second,
		DialKeepAliveTime: 6 * time.Second, DialKeepAliveTimeout: 3 * time.Second, // etcd refuses pings more often than every 5 s
		DialOptions: []grpc.DialOption{grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.2, MaxDelay: 300 * time.Millisecond},
			MinConnectTimeout: 3 * time.Second,
		})},
	})
}

// broadcast wakes who waits for a change. The caller holds mu.
func (r *Recorder) broadcast() {
	close(r.changed)
	r.changed = make(chan struct{})
}

// wait returns false when ctx has ended first.
func wait(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
