package simulation

import (
	"fmt"
	"testing"
	"time"
)

// In doubt etcd is asked about the lease of each suspect. Their losses come one after another, and each brings new doubt:
// it is no reason to ask about the others again.
func TestEachLeaseOfAMassExpiryIsAskedAboutOnce(t *testing.T) {
	t.Parallel()
	n := fewer(200)
	scene(t, family{}, func(w *world) {
		for i := range n { // processes of their own, that die one after another
			id := fmt.Sprintf("10.0.0.1:%d", i+1)
			value := fmt.Sprintf(`{"Op":0,"Addr":%q,"ID":%q,"TTL":30}`, id, id)
			if err := w.cluster.PutKey("rollcall/services/"+other+"/"+id, value, w.cluster.GrantLease(30+int64(i%20))); err != nil {
				t.Fatal(err)
			}
		}
		w.join().follow(other)
		asked := w.bill("a mass expiry", func() { w.pass(time.Minute) })
		if got := asked["LeaseTimeToLive"]; got < n/2 || got > n {
			t.Errorf("etcd was asked %d times about %d leases", got, n)
		}
	})
}
