package integration

import (
	"fmt"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

var watchScenarios = []scenario{
	{name: "a watch has the id its client chose and a created header", run: watchIDsAndCreation},
	{name: "creations are answered in order", run: watchCreationsInOrder},
	{name: "a watch from the past gets all of it", run: watchFromThePast},
	{name: "a watch of a future revision is silent and reports no progress", run: watchOfTheFuture},
	{name: "a watch without a revision sees what comes next", run: watchFromNow},
	{name: "a watch of a compacted revision ends with that revision", run: watchOfCompacted},
	{name: "a watch that is up to date survives a compaction", run: watchSurvivesCompaction},
	{name: "a deletion has no previous value once that is compacted", run: noPreviousValueAfterCompaction},
	{name: "previous values and filters", run: watchPreviousAndFilters},
	{name: "a large response comes in fragments", run: watchFragments},
	{name: "progress is notified and answered", run: watchProgress},
	{name: "on an idle store a watch from the last revision reports progress, one from the next does not", run: watchIdleProgress},
	{name: "a cancelled watch is silent", run: watchCancel},
	{name: "a transaction is one response", run: watchTransaction},
}

// head returns etcd's revision.
func head(t *testing.T, c *clientv3.Client) int64 {
	t.Helper()
	return must[*clientv3.GetResponse](t)(c.Get(bounded(t), "head")).Header.Revision
}

func all(prefix string, rev int64) *pb.WatchCreateRequest {
	return &pb.WatchCreateRequest{Key: []byte(prefix), RangeEnd: []byte(clientv3.GetPrefixRangeEnd(prefix)), StartRevision: rev}
}

func watchIDsAndCreation(t *testing.T, w world, prefix string) {
	c := w.Client(t, -1)
	put(t, c, prefix+"k", "1")
	rev := head(t, c)
	s := openWatch(t, c, false)
	r := all(prefix, rev+1)
	r.WatchId = 77
	resp := s.created(r)
	mustEqual(t, "answer", told(resp), "77 created")
	mustEqual(t, "revision in its header", resp.Header.Revision, rev)
	if resp.Header.ClusterId == 0 || resp.Header.MemberId == 0 || resp.Header.RaftTerm == 0 {
		t.Errorf("header %v", resp.Header)
	}
	resp = s.created(r)
	mustEqual(t, "the id again", [3]any{resp.Created, resp.Canceled, resp.WatchId}, [3]any{true, true, int64(-1)})
	mustEqual(t, "why not", resp.CancelReason, "mvcc: duplicate watch ID provided on the WatchStream")
	resp = s.created(&pb.WatchCreateRequest{Key: []byte("b"), RangeEnd: []byte("a")})
	mustEqual(t, "why no empty range", resp.CancelReason, "mvcc: watcher range is empty")
	resp = s.created(&pb.WatchCreateRequest{Key: []byte("b"), StartRevision: -1})
	mustEqual(t, "a negative revision", [2]any{resp.Canceled, resp.CompactRevision}, [2]any{true, int64(0)})
	mustEqual(t, "ids that etcd chooses", s.created(all(prefix, 0)).WatchId, 0)
	mustEqual(t, "ids that etcd chooses", s.created(all(prefix, 0)).WatchId, 1)
	put(t, c, prefix+"k", "2")
	ids := map[int64]bool{}
	for range 3 {
		resp := s.next("an event")
		ids[resp.WatchId] = true
		mustEqual(t, "revision of events", resp.Header.Revision, rev+1)
	}
	mustEqual(t, "watches told", ids, map[int64]bool{0: true, 1: true, 77: true})
}

func watchCreationsInOrder(t *testing.T, w world, prefix string) {
	c := w.Client(t, -1)
	s := openWatch(t, c, true)
	rev := head(t, c)
	for id := range 100 {
		r := all(prefix, rev+1)
		r.WatchId = int64(1000 - id)
		s.create(r)
	}
	for id := range 100 {
		mustEqual(t, "creation", told(s.next("creation")), fmt.Sprint(1000-id, " created"))
	}
}

func watchFromThePast(t *testing.T, w world, prefix string) {
	c := w.Client(t, -1)
	rev := head(t, c)
	put(t, c, prefix+"a", "1")
	put(t, c, prefix+"a", "2")
	must[*clientv3.DeleteResponse](t)(c.Delete(bounded(t), prefix+"a"))
	s := openWatch(t, c, false)
	s.created(all(prefix, rev+1))
	resp := s.next("the past")
	mustEqual(t, "all in one response", told(resp), "0 put a=1 put a=2 delete a")
	mustEqual(t, "its revision", resp.Header.Revision, rev+3)
	put(t, c, prefix+"a", "3")
	mustEqual(t, "the present", told(s.next("the present")), "0 put a=3")
}

func watchOfTheFuture(t *testing.T, w world, prefix string) {
	c := w.Client(t, -1)
	rev := head(t, c)
	s := openWatch(t, c, false)
	r := all(prefix, rev+3)
	r.ProgressNotify = true
	resp := s.created(r)
	mustEqual(t, "revision of the creation", resp.Header.Revision, rev)
	put(t, c, prefix+"k", "early")
	s.progress()
	s.quiet(w, 3*worldProgress, "a watch of the future")
	put(t, c, prefix+"k", "earlier than it")
	put(t, c, prefix+"k", "in time")
	for {
		resp := s.next("the future")
		if len(resp.Events) > 0 {
			mustEqual(t, "first event", told(resp), "0 put k=in time")
			return
		}
	}
}

func watchFromNow(t *testing.T, w world, prefix string) {
	c := w.Client(t, -1)
	put(t, c, prefix+"k", "before")
	s := openWatch(t, c, false)
	s.created(all(prefix, 0))
	put(t, c, prefix+"k", "after")
	mustEqual(t, "first event", told(s.next("an event")), "0 put k=after")
}

func watchOfCompacted(t *testing.T, w world, prefix string) {
	c := w.Client(t, -1)
	put(t, c, prefix+"k", "1")
	rev := head(t, c)
	put(t, c, prefix+"k", "2")
	put(t, c, prefix+"k", "3")
	must[*clientv3.CompactResponse](t)(c.Compact(bounded(t), rev+1))
	s := openWatch(t, c, false)
	mustEqual(t, "creation", told(s.created(all(prefix, rev))), "0 created")
	resp := s.next("the end")
	mustEqual(t, "the end", told(resp), "0 canceled")
	mustEqual(t, "compact revision", resp.CompactRevision, rev+1)
	mustEqual(t, "revision in its header", resp.Header.Revision, 0)
	s.created(all(prefix, rev+1))
	mustEqual(t, "from the compacted revision itself", told(s.next("the past")), "1 put k=2 put k=3")
}

func watchSurvivesCompaction(t *testing.T, w world, prefix string) {
	c := w.Client(t, -1)
	put(t, c, prefix+"k", "1")
	s := openWatch(t, c, false)
	s.created(all(prefix, head(t, c)+1))
	put(t, c, "elsewhere"+prefix, "")
	must[*clientv3.CompactResponse](t)(c.Compact(bounded(t), head(t, c)))
	put(t, c, prefix+"k", "2")
	mustEqual(t, "next", told(s.next("an event")), "0 put k=2")
}

func noPreviousValueAfterCompaction(t *testing.T, w world, prefix string) {
	c := w.Client(t, -1)
	put(t, c, prefix+"k", "1")
	rev := head(t, c)
	must[*clientv3.DeleteResponse](t)(c.Delete(bounded(t), prefix+"k"))
	must[*clientv3.CompactResponse](t)(c.Compact(bounded(t), rev+1))
	s := openWatch(t, c, false)
	r := all(prefix, rev+1)
	r.PrevKv = true
	s.created(r)
	mustEqual(t, "deletion", told(s.next("a deletion")), "0 delete k")
}

func watchPreviousAndFilters(t *testing.T, w world, prefix string) {
	c := w.Client(t, -1)
	rev := head(t, c)
	s := openWatch(t, c, false)
	r := all(prefix, rev+1)
	r.PrevKv, r.Filters = true, []pb.WatchCreateRequest_FilterType{pb.WatchCreateRequest_NOPUT}
	s.created(r)
	put(t, c, prefix+"k", "1")
	put(t, c, prefix+"k", "2")
	must[*clientv3.DeleteResponse](t)(c.Delete(bounded(t), prefix+"k"))
	mustEqual(t, "no puts", told(s.next("a deletion")), "0 delete k was 2")
	r = all(prefix, rev+1)
	r.PrevKv, r.Filters = true, []pb.WatchCreateRequest_FilterType{pb.WatchCreateRequest_NODELETE}
	s.created(r)
	mustEqual(t, "no deletions", told(s.next("puts")), "1 put k=1 put k=2 was 1")
}

func watchFragments(t *testing.T, w world, prefix string) {
	c := w.Client(t, -1)
	value, rev := strings.Repeat("x", 400<<10), head(t, c)
	for i := range 10 {
		put(t, c, fmt.Sprint(prefix, i), value)
	}
	s := openWatch(t, c, false)
	r := all(prefix, rev+1)
	r.Fragment = true
	s.created(r)
	events, parts := 0, 0
	for more := true; more; parts++ {
		resp := s.next("a fragment")
		events += len(resp.Events)
		more = resp.Fragment
		mustEqual(t, "revision of a fragment", resp.Header.Revision, rev+10)
	}
	mustEqual(t, "events and fragments", [2]int{events, parts}, [2]int{10, 2})
	r = all(prefix, rev+1)
	s.created(r)
	mustEqual(t, "events when fragments are not asked for", len(s.next("all").Events), 10)
}

func watchProgress(t *testing.T, w world, prefix string) {
	c := w.Client(t, -1)
	put(t, c, prefix+"k", "1")
	rev := head(t, c)
	s := openWatch(t, c, false)
	r := all(prefix, rev)
	r.ProgressNotify = true
	s.created(r)
	mustEqual(t, "the past", told(s.next("the past")), "0 put k=1")
	for range 2 {
		resp := s.next("progress")
		mustEqual(t, "progress by itself", [2]any{told(resp), resp.Header.Revision}, [2]any{"0", rev})
	}
	quiet := openWatch(t, c, false)
	quiet.created(all(prefix, rev+1))
	quiet.quiet(w, 3*worldProgress, "a watch that asked for no progress")
	quiet.progress()
	quiet.quiet(w, worldProgress, "a watch from the next revision, asked for progress")
	put(t, c, prefix+"k", "2")
	mustEqual(t, "an event", told(quiet.next("an event")), "0 put k=2")
	quiet.progress()
	resp := quiet.next("progress when asked")
	mustEqual(t, "progress when asked", [2]any{told(resp), resp.Header.Revision}, [2]any{"-1", rev + 1})
}

func watchIdleProgress(t *testing.T, w world, prefix string) {
	c := w.Client(t, -1)
	put(t, c, prefix+"k", "1")
	rev := head(t, c)
	last, after := openWatch(t, c, false), openWatch(t, c, false)
	for s, from := range map[*rawWatch]int64{last: rev, after: rev + 1} {
		r := all(prefix, from)
		r.ProgressNotify = true
		s.created(r)
	}
	mustEqual(t, "the last event, again", told(last.next("the last event")), "0 put k=1")
	for range 3 {
		resp := last.next("progress")
		mustEqual(t, "progress", [2]any{told(resp), resp.Header.Revision}, [2]any{"0", rev})
	}
	after.progress()
	after.quiet(w, 3*worldProgress, "a watch from the next revision")
	put(t, c, "elsewhere"+prefix, "")
	resp := after.next("progress")
	mustEqual(t, "progress once the store has moved", [2]any{told(resp), resp.Header.Revision}, [2]any{"0", rev + 1})
}

func watchCancel(t *testing.T, w world, prefix string) {
	c := w.Client(t, -1)
	s := openWatch(t, c, false)
	s.created(all(prefix, 0))
	s.created(all(prefix, 0))
	s.send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CancelRequest{CancelRequest: &pb.WatchCancelRequest{WatchId: 0}}})
	mustEqual(t, "answer", told(s.next("cancellation")), "0 canceled")
	s.send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CancelRequest{CancelRequest: &pb.WatchCancelRequest{WatchId: 99}}})
	put(t, c, prefix+"k", "1")
	mustEqual(t, "the other goes on", told(s.next("an event")), "1 put k=1")
	s.quiet(w, 200*time.Millisecond, "a cancelled watch, and one that never was")
}

func watchTransaction(t *testing.T, w world, prefix string) {
	c := w.Client(t, -1)
	put(t, c, prefix+"z", "0")
	s := openWatch(t, c, false)
	s.created(all(prefix, head(t, c)+1))
	must[*clientv3.TxnResponse](t)(c.Txn(bounded(t)).
		Then(clientv3.OpPut(prefix+"b", "1"), clientv3.OpDelete(prefix+"z"), clientv3.OpPut(prefix+"a", "2")).Commit())
	mustEqual(t, "events in the order of the operations", told(s.next("a transaction")), "0 put b=1 delete z put a=2")
}
