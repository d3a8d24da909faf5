package integration

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/rollcall-io/rollcall/internal/simetcd"
)

// What follows runs against the fake alone: it is about faults that the fake makes, or about moments that no real etcd
// keeps so exactly. Times are as measured and read in etcd's code.

// leased grants a lease by a client and puts a key under it.
func leased(t *testing.T, c *clientv3.Client, ttl int64) clientv3.LeaseID {
	t.Helper()
	id := must[*clientv3.LeaseGrantResponse](t)(c.Grant(bounded(t), ttl)).ID
	must[*clientv3.PutResponse](t)(c.Put(bounded(t), "k", "", clientv3.WithLease(id)))
	return id
}

// renew sends a keepalive on a stream of its own and returns a channel that gets the answer.
func renew(t *testing.T, c *clientv3.Client, id clientv3.LeaseID) <-chan error {
	t.Helper()
	stream := must[pb.Lease_LeaseKeepAliveClient](t)(pb.NewLeaseClient(c.ActiveConnection()).LeaseKeepAlive(within(t, time.Minute)))
	if err := stream.Send(&pb.LeaseKeepAliveRequest{ID: int64(id)}); err != nil {
		t.Fatal(err)
	}
	answered := make(chan error, 1)
	go func() {
		_, err := stream.Recv()
		answered <- err
	}()
	return answered
}

func TestAFakePromotionGivesEveryLeaseItsFullTTLAndAnElection(t *testing.T) {
	simulate(t, 3, func(t *testing.T, w *simulated) {
		c := w.Client(t, 1)
		leased(t, c, 10)
		time.Sleep(9 * time.Second)
		w.sim.Leader().Hang()
		for w.sim.Leader() == nil || w.sim.Leader() == w.sim.Member(0) {
			time.Sleep(100 * time.Millisecond)
		}
		promoted := time.Now()
		for len(w.sim.Keys("k")) > 0 {
			time.Sleep(100 * time.Millisecond)
		}
		if lived := time.Since(promoted); lived < 10900*time.Millisecond || lived > 11700*time.Millisecond {
			t.Errorf("the lease lived %v after the promotion, want 11 s and a tick", lived)
		}
		history := w.sim.History()
		mustEqual(t, "cause of the deletion", history[len(history)-1].Cause, "expiry")
	})
}

func TestAFakeLeaderStillLeadsWhenItsMembersWakeUpOneAfterAnother(t *testing.T) {
	for name, order := range map[string][]int{"leader first": {0, 1, 2}, "leader last": {1, 2, 0}} {
		t.Run(name, func(t *testing.T) {
			simulate(t, 3, func(t *testing.T, w *simulated) {
				c := w.Client(t, -1)
				term := termOf(t, c)
				for _, m := range w.sim.Members() {
					m.Hang()
				}
				time.Sleep(10 * time.Second)
				for _, i := range order { // a majority is awake without leader, or the leader without majority, for less than an election
					w.sim.Member(i).Resume()
					time.Sleep(600 * time.Millisecond)
				}
				time.Sleep(2 * time.Second)
				mustEqual(t, "the term", termOf(t, c), term)
			})
		})
	}
}

func TestAFakeLeaderThatWakesUpLateRevokesByItsOwnBooksEverySecondTime(t *testing.T) {
	simulate(t, 3, func(t *testing.T, w *simulated) {
		c := w.Client(t, -1)
		for _, survives := range []bool{false, true, false} {
			id := leased(t, c, 5)
			old := w.sim.Leader()
			old.Hang()
			time.Sleep(4 * time.Second) // another one leads, and has given the lease its full time
			must[*clientv3.LeaseKeepAliveResponse](t)(w.Client(t, simulatedCluster{w}.Leader(t)).KeepAliveOnce(bounded(t), id))
			time.Sleep(3 * time.Second)
			old.Resume()
			mustEqual(t, "the key is there", len(w.sim.Keys("k")) == 1, survives)
		}
	})
}

func TestAFakeFollowerLooksForALeaderOncePerElection(t *testing.T) {
	simulate(t, 3, func(t *testing.T, w *simulated) {
		follower := w.Client(t, 1)
		id := leased(t, follower, 60)
		w.sim.NoLeader(3 * time.Second)
		time.Sleep(200 * time.Millisecond) // out of step
		asked := time.Now()
		if err := <-renew(t, follower, id); err != nil {
			t.Errorf("renewal: %v", err)
		}
		mustEqual(t, "it took", time.Since(asked), 3*simetcd.Election)
	})
}

func TestAFakeMemberThatHangsAnswersLate(t *testing.T) {
	simulate(t, 3, func(t *testing.T, w *simulated) {
		c := w.Client(t, 1)
		put(t, c, "before", "")
		w.sim.Member(1).Hang()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		_, err := c.Put(ctx, "meanwhile", "")
		mustEqual(t, "a put runs into its deadline", errors.Is(err, context.DeadlineExceeded), true)
		mustEqual(t, "keys meanwhile", len(w.sim.Keys("meanwhile")), 0)
		w.sim.Member(1).Resume()
		put(t, c, "after", "")
	})
}

func TestAFakeMembersRepliesAndRequestsAreLost(t *testing.T) {
	simulate(t, 1, func(t *testing.T, w *simulated) {
		c := w.Client(t, 0)
		put(t, c, "before", "")
		try := func(key string) error {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			_, err := c.Put(ctx, key, "")
			return err
		}
		m := w.sim.Member(0)
		m.LoseReplies()
		mustFail(t, "a put without a reply", try("replies"), context.DeadlineExceeded)
		mustEqual(t, "and its key", len(w.sim.Keys("replies")), 1)
		m.Heal()
		put(t, c, "between", "")
		m.LoseRequests()
		mustFail(t, "a put that is lost", try("requests"), context.DeadlineExceeded)
		mustEqual(t, "and its key", len(w.sim.Keys("requests")), 0)
		m.Heal()
		m.Cut()
		mustEqual(t, "a put while cut off", try("cut") != nil, true)
		m.Heal()
		put(t, c, "after", "")
		m.Slow(300 * time.Millisecond)
		asked := time.Now()
		put(t, c, "slow", "")
		if took := time.Since(asked); took < 300*time.Millisecond || took > 600*time.Millisecond {
			t.Errorf("a slow put took %v", took)
		}
	})
}

func TestAFakeMemberThatLagsServesItsPast(t *testing.T) {
	simulate(t, 3, func(t *testing.T, w *simulated) {
		ahead, behind := w.Client(t, 0), w.Client(t, 2)
		id := leased(t, ahead, 60)
		stream := openWatch(t, behind, true)
		stream.created(all("k", 0))
		w.sim.Member(2).Lag()
		put(t, ahead, "k", "new")
		old := must[*clientv3.GetResponse](t)(behind.Get(bounded(t), "k", clientv3.WithSerializable()))
		mustEqual(t, "an old value", string(old.Kvs[0].Value), "")
		renewed := must[*clientv3.LeaseKeepAliveResponse](t)(behind.KeepAliveOnce(bounded(t), id))
		mustEqual(t, "revision in the header of a renewal", renewed.ResponseHeader.Revision, 2)
		stream.quiet(w, time.Second, "a watch on a member that lags")
		w.sim.Member(2).Rejoin()
		mustEqual(t, "when it has caught up", told(stream.next("an event")), "0 put k=new")
		fresh := must[*clientv3.GetResponse](t)(behind.Get(bounded(t), "k"))
		mustEqual(t, "a new value", string(fresh.Kvs[0].Value), "new")
	})
}

func TestAFakeWatchThatRequiresALeaderEndsAfterThreeElectionsWithout(t *testing.T) {
	simulate(t, 3, func(t *testing.T, w *simulated) {
		c := w.Client(t, 1)
		stream := must[pb.Watch_WatchClient](t)(pb.NewWatchClient(c.ActiveConnection()).Watch(clientv3.WithRequireLeader(within(t, time.Minute))))
		if err := stream.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: all("k", 0)}}); err != nil {
			t.Fatal(err)
		}
		must[*pb.WatchResponse](t)(stream.Recv())
		indifferent := openWatch(t, c, false)
		indifferent.created(all("k", 0))
		lost := time.Now()
		w.sim.NoLeader(8 * time.Second)
		_, err := stream.Recv()
		mustFail(t, "the watch", err, rpctypes.ErrNoLeader)
		if took := time.Since(lost); took < 3*simetcd.Election || took > 4*simetcd.Election {
			t.Errorf("it ended after %v", took)
		}
		eventually(t, 12*time.Second, "a leader", func() bool { return w.sim.Leader() != nil })
		put(t, c, "k", "1")
		mustEqual(t, "the watch that requires none", told(indifferent.next("an event")), "0 put k=1")
	})
}

func TestAFakeStoreIsWipedAndRestoredUnderTheSameClusterID(t *testing.T) {
	simulate(t, 1, func(t *testing.T, w *simulated) {
		c := w.Client(t, 0)
		read := func() *clientv3.GetResponse {
			var resp *clientv3.GetResponse
			eventually(t, 20*time.Second, "an answer", func() (ok bool) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				var err error
				resp, err = c.Get(ctx, "k")
				return err == nil
			})
			return resp
		}
		put(t, c, "k", "1")
		snapshot, id := w.sim.Snapshot(), read().Header.ClusterId
		put(t, c, "k", "2")
		put(t, c, "k", "3")
		w.sim.Restore(snapshot, 0)
		mustEqual(t, "after a restore", [3]any{string(read().Kvs[0].Value), read().Header.Revision, read().Header.ClusterId}, [3]any{"1", int64(2), id})
		w.sim.Restore(snapshot, 1000)
		mustEqual(t, "after a restore with a bump", read().Header.Revision, 1002)
		stream := openWatch(t, c, false)
		stream.created(all("k", 5))
		mustEqual(t, "a watch from before the bump", stream.next("its end").CompactRevision, 1002)
		w.sim.Wipe()
		mustEqual(t, "after a wipe", [3]any{len(read().Kvs), read().Header.Revision, read().Header.ClusterId}, [3]any{0, int64(1), id})
		mustEqual(t, "eras", w.sim.Era(), 3)
		mustEqual(t, "revisions ever", len(w.sim.History()), 3)
	})
}

func TestAFakeClusterThatIsHangingStopsWithoutATrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := simetcd.New(simetcd.Options{Members: []string{"m1", "m2"}})
		c := must[*clientv3.Client](t)(clientv3.New(sim.Config()))
		defer func() {
			_ = c.Close()
			sim.Stop()
			synctest.Wait()
		}()
		put(t, c, "k", "")
		for _, m := range sim.Members() {
			m.Hang()
		}
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		_, err := c.Put(ctx, "k", "")
		mustEqual(t, "a put runs into its deadline", errors.Is(err, context.DeadlineExceeded), true)
		mustEqual(t, "puts that reached a member", sim.Count("Put"), 1)
	})
}

func TestAFakeHasUsersThatNoClientMade(t *testing.T) {
	simulate(t, 1, func(t *testing.T, w *simulated) {
		mustFail(t, "auth without root", w.sim.EnableAuth(), rpctypes.ErrRootUserNotExist)
		w.sim.AddUser("root", "secret")
		w.sim.AddUser("jie", "sesame", simetcd.Permission("/mine/"))
		mustFail(t, "auth", w.sim.EnableAuth(), nil)
		user := w.Client(t, 0, "jie", "sesame")
		put(t, user, "/mine/k", "")
		_, err := user.Put(bounded(t), "/elsewhere", "")
		mustFail(t, "a write elsewhere", err, rpctypes.ErrPermissionDenied)
		mustEqual(t, "users", must[*clientv3.AuthUserListResponse](t)(w.Client(t, 0, "root", "secret").UserList(bounded(t))).Users, []string{"jie", "root"})
	})
}
