package integration

import (
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

func renewalWaitsForOldLeader(t *testing.T, w clusterWorld) {
	leader := w.Leader(t)
	follower, other := w.Client(t, (leader+1)%3), w.Client(t, (leader+2)%3)
	id, short := leased(t, follower, 30), must[*clientv3.LeaseGrantResponse](t)(follower.Grant(bounded(t), 6)).ID
	granted := time.Now()
	must[*clientv3.PutResponse](t)(follower.Put(bounded(t), "short", "", clientv3.WithLease(short)))
	watch := openWatch(t, follower, true)
	watch.created(all("k", head(t, follower)+1))
	w.Hang(t, leader)
	asked, answer := time.Now(), renew(t, follower, id)
	restored(t, other, id, 31, granted) // without the election at most 30, less what has passed
	if next := w.Leader(t); next == leader {
		t.Error("the leader that hangs leads still")
	}
	if time.Since(asked) < 6*time.Second {
		unanswered(t, answer)
	}
	renewShort := func() {
		t.Helper()
		must[*clientv3.LeaseKeepAliveResponse](t)(other.KeepAliveOnce(bounded(t), short))
	}
	renewShort()
	must[*clientv3.PutResponse](t)(other.Put(bounded(t), "k", "2", clientv3.WithLease(id)))
	mustEqual(t, "a watch that requires a leader outlives the election", told(watch.next("a put")), "0 put k=2")
	var outcome error
	for waiting := true; waiting; {
		select {
		case outcome = <-answer:
			waiting = false
		case <-time.After(2 * time.Second):
			renewShort() // which runs out in the old leader's books only
		}
		if time.Since(asked) > 20*time.Second {
			t.Fatal("no answer to the renewal")
		}
	}
	mustFail(t, "the renewal", outcome, rpctypes.ErrTimeout)
	if took := time.Since(asked); took < 6500*time.Millisecond || took > 12*time.Second {
		t.Errorf("the renewal was given up after %v, want 7 s", took)
	}
	if err := receiveWithin(t, 3*time.Second, "an answer", renew(t, follower, id)); err != nil {
		t.Errorf("renewal with the new leader: %v", err)
	}

	// The one that hung may take what has run out in its own books, though it was renewed; and nothing else.
	renewShort()
	late := must[*clientv3.LeaseGrantResponse](t)(other.Grant(bounded(t), 5)).ID
	must[*clientv3.PutResponse](t)(other.Put(bounded(t), "late", "", clientv3.WithLease(late)))
	w.Resume(t, leader)
	w.Pass(time.Second)
	left := keys(t, other, "")
	delete(left, "short")
	mustEqual(t, "keys", left, map[string]string{"k": "2", "late": ""})
}

func readAcrossElection(t *testing.T, w clusterWorld) {
	leader := w.Leader(t)
	c := w.Client(t, (leader+1)%3)
	put(t, c, "k", "1")
	w.Hang(t, leader)
	read := func() error {
		_, err := pb.NewKVClient(c.ActiveConnection()).Range(bounded(t), &pb.RangeRequest{Key: []byte("k")})
		return err
	}
	mustFail(t, "the read", read(), rpctypes.ErrLeaderChanged)
	mustFail(t, "the next one", read(), nil)
	w.Resume(t, leader)
}

// clusterHangsAsOne stops all members, and then a majority with the leader, for longer than an election takes, and than
// a lease lives.
func clusterHangsAsOne(t *testing.T, w clusterWorld) {
	c := w.Client(t, -1)
	leader, term := w.Leader(t), termOf(t, c)
	long, granted := must[*clientv3.LeaseGrantResponse](t)(c.Grant(bounded(t), 60)).ID, time.Now()
	leased(t, c, 2)
	w.Hang(t, 0, 1, 2)
	w.Pass(3 * time.Second)
	w.Resume(t, 0, 1, 2)
	eventually(t, 3*time.Second, "the end of a lease of 2 s", func() bool { return len(keys(t, c, "k")) == 0 })
	w.Hang(t, leader, (leader+1)%3)
	w.Pass(3 * time.Second)
	w.Resume(t, leader, (leader+1)%3)
	w.Pass(2 * time.Second) // for an election that might follow
	mustEqual(t, "the leader", w.Leader(t), leader)
	mustEqual(t, "the term", termOf(t, c), term)
	left := must[*clientv3.LeaseTimeToLiveResponse](t)(c.TimeToLive(bounded(t), long)).TTL
	if most := 60 - time.Since(granted).Seconds(); float64(left) > most {
		t.Errorf("%d s left of 60 after %v", left, time.Since(granted))
	}
}

// followersHang takes the followers away for so long that the leader gives up.
func followersHang(t *testing.T, w clusterWorld) {
	leader := w.Leader(t)
	c := w.Client(t, leader)
	term := termOf(t, c)
	w.Hang(t, others(leader)...)
	w.Pass(3 * time.Second)
	woke := time.Now()
	w.Resume(t, others(leader)...)
	mustEqual(t, "a later term", termOf(t, c) > term, true)
	if took := time.Since(woke); took < 500*time.Millisecond || took > 6*time.Second {
		t.Errorf("a leader was elected after %v, want 1 to 2 s", took)
	}
}
