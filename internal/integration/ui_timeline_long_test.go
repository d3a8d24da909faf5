package integration

import (
	"fmt"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/rollcall-io/rollcall/internal/etcdtest"
)

// shownAtMost is how many events the page shows of all that happened.
const shownAtMost = 500

// What is far from where one reads is let go, at either end, and comes again when one goes there.
func TestALongTimelineIsReadToItsEndAndBackAndDoesNotGrow(t *testing.T) {
	const before = 900
	etcd := etcdtest.Start(t)
	client := etcd.Client(t)
	say(t, client, before, func(n int) (int, int, int) { return n % 200, 0, n / 200 })
	page := browse(t, serveProcess(t, etcd).url(), weighing...)
	page.open("/timeline")
	page.until(`document.querySelectorAll(".events li").length === 100`)
	ask[bool](page, theReader)
	page.readTo("end", `document.querySelector(".ends:last-child").textContent.includes("The history begins here")`)
	page.until(fmt.Sprintf(`sequence(rows().at(-1)) === newest - %d`, before-1))
	page.says(".sum", fmt.Sprint(before, " events"))
	put(t, client, "rollcall/services/late/10.0.0.1:80", `{"Addr":"10.0.0.1:80"}`)
	page.says(".newest", "To the newest 1 event since")
	page.readTo("top", `document.querySelector(".newest") === null`)
	page.tells("joined", "late 10.0.0.1:80")
	page.until(`whole() && sequence(rows()[0]) === newest + 1`)

	ask[bool](page, `{ scrollTo(0, document.body.scrollHeight); true }`) // what was let go there
	page.says(".sum", "600 events so far")
	page.choose(".newest", "To the newest")
	page.until(`scrollY === 0 && rows().length === 100 && sequence(rows()[0]) === newest + 1`)

	first, second := page.hourOfChanges(client, 100), page.hourOfChanges(client, 200)
	t.Logf("memory %.1f MB after an hour's changes and %.1f MB after another", first/1e6, second/1e6)
	if second > 1.2*first {
		t.Errorf("memory grew from %.0f to %.0f bytes by an hour's changes", first, second)
	}
}

// hourOfChanges lets as much happen as in an hour with two changes a second, and returns what the page weighs then.
func (p *tab) hourOfChanges(client *clientv3.Client, version int) float64 {
	p.t.Helper()
	say(p.t, client, 7200, func(n int) (int, int, int) { return n % 500, 0, version + n/500 })
	done := fmt.Sprintf("done-%d", version)
	put(p.t, client, "rollcall/services/"+done+"/10.0.0.1:80", `{"Addr":"10.0.0.1:80"}`)
	p.until(`document.querySelector(".events li").textContent.includes(` + quote(done) + `)`) // the newest is the first
	if n := ask[int](p, `document.querySelectorAll(".events li").length`); n != shownAtMost {
		p.t.Errorf("%d events are shown", n)
	}
	return p.weight()
}

// readTo goes on to one end of the timeline until done. Nothing may be shown twice on the way, or left out, and what one reads stays where it is.
func (p *tab) readTo(edge, done string) {
	p.t.Helper()
	for _, wrong := range ask[[]string](p, `readTo(`+quote(edge)+`, () => `+done+`)`) {
		p.t.Errorf("to the %s: %s", edge, wrong)
	}
	p.until(done)
}

// theReader is readTo, in the page.
var theReader = `{
	window.rows = () => [...document.querySelectorAll(".events li")];
	window.sequence = (row) => Number(row.dataset.sequence);
	window.whole = () => rows().every((row, n, all) => n === 0 || sequence(all[n - 1]) === sequence(row) + 1);
	window.newest = sequence(rows()[0]);
	const frames = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
	window.readTo = async (edge, done) => {
		const wrong = [];
		const last = () => edge === "end" ? rows().at(-1) : rows()[0];
		for (let step = 0; step < 100 && !done(); step++) {
			scrollTo(0, edge === "end" ? document.body.scrollHeight : document.querySelector(".days").offsetTop - 200);
			await frames();
			const row = last(), top = row.getBoundingClientRect().top;
			for (let n = 0; n < 200 && last() === row && !done(); n++) await frames();
			if (!row.isConnected) wrong.push("what was read is gone");
			else if (Math.abs(row.getBoundingClientRect().top - top) > 2) wrong.push("what was read went from " + top + " to " + row.getBoundingClientRect().top);
			if (rows().length > ` + fmt.Sprint(shownAtMost) + `) wrong.push(rows().length + " rows");
			if (!whole()) wrong.push("there is a hole");
		}
		return wrong;
	};
	true
}`
