package judge

import (
	"encoding/hex"
	"encoding/json"
	"regexp"
	"strings"
	"time"

	"github.com/rollcall-io/rollcall/chaos/journal"
	"go.etcd.io/etcd/api/v3/mvccpb"
)

const (
	leaving  = "leaving"
	serving  = "serving"
	readable = 1 << 20 // bytes of a value; larger ones are skipped
)

// instance is what an instance's value says. The fields that the judge does not look at must still be what they should be.
type instance struct {
	Addr, ID, Incarnation, Holder, State string
	Zone, Version                        string
	Weight                               int
	TTL                                  int64
	Addrs                                map[string]string
	Registered                           time.Time
}

// tellEvent tells what a watch of etcd brought. The caller holds mu.
func (r *Recorder) tellEvent(n news) {
	var e journal.Event
	if n.Type == mvccpb.DELETE {
		// Of what it was before, where that is not compacted.
		if n.PrevKv != nil {
			e = r.put(n.PrevKv)
			e.Text = ""
		} else {
			e = r.locate(string(n.Kv.Key))
		}
		e.What, e.Epoch, e.Revision = journal.Deleted, r.epoch, n.Kv.ModRevision
	} else {
		e = r.put(n.Kv)
	}
	if n.replayed {
		e.Name = Replayed
	}
	r.out.Tell(e)
}

// put is the event that tells of a key and its value.
func (r *Recorder) put(kv *mvccpb.KeyValue) journal.Event {
	e := r.locate(string(kv.Key))
	e.What, e.Epoch, e.Revision, e.Lease = journal.Put, r.epoch, kv.ModRevision, kv.Lease
	e.Text = string(kv.Value[:min(len(kv.Value), 200)])
	if e.Service == "" || len(kv.Value) > readable {
		return e
	}
	var i instance
	if json.Unmarshal(kv.Value, &i) == nil && i.Addr != "" {
		e.Incarnation, e.State = i.Incarnation, i.State
		if e.State == "" {
			e.State = serving
		}
	}
	return e
}

// locate says whose key it is, if it is an instance's.
func (r *Recorder) locate(key string) journal.Event {
	e := journal.Event{Key: key}
	rest, ours := strings.CutPrefix(key, r.prefix+"/services/")
	service, id, found := strings.Cut(rest, "/")
	if !ours || !found || service == "" || id == "" || strings.Contains(id, "/") {
		return e
	}
	e.Service, e.ID = service, plain(id)
	return e
}

// escaped are the bytes of an id that are percent-encoded in its key: "/", "%" and control bytes. Whatever else looks
// like an escape stands for itself.
var escaped = regexp.MustCompile("%(2F|25|[01][0-9A-F]|7F)")

// plain is an id as it was before it became part of a key.
func plain(id string) string {
	return escaped.ReplaceAllStringFunc(id, func(s string) string {
		b, err := hex.DecodeString(s[1:])
		if err != nil {
			panic(err) // the expression allows nothing else
		}
		return string(b)
	})
}
