package integration

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
)

func TestALeaseIsSeenToBeRenewedOrToRunOut(t *testing.T) {
	const living, dying = 8, 5 // seconds of TTL
	etcd := etcdtest.Start(t)
	register(t, open(t, etcd.Endpoint()), "shop", rollcall.Instance{ID: "living", Addr: "10.0.0.1:80"}, rollcall.WithTTL(living*time.Second))
	put(t, etcd.Client(t), "rollcall/services/shop/left", `{"Addr":"10.0.0.3:80","TTL":15}`)
	putCrowd(t, etcd.Client(t), 5000)
	victim := startProcess(t, etcd.Endpoint(), "shop", "10.0.0.2:80", dying*time.Second)
	page := browse(t, serveProcess(t, etcd).url())
	page.open("/services/shop")
	page.until(leaseCell("living") + `?.textContent.endsWith("s of 8s")`)
	page.until(leaseCell("10.0.0.2%3A80") + `?.textContent.endsWith("s of 5s")`)
	page.until(leaseCell("left") + `?.textContent === "no lease"`)
	ask[bool](page, `{
		window.shown = {living: [], dying: [], missed: false};
		setInterval(() => {
			for (const [id, cell] of [["living", `+leaseCell("living")+`], ["dying", `+leaseCell("10.0.0.2%3A80")+`]]) {
				if (cell) shown[id].push(parseInt(cell.textContent));
				if (id === "living" && cell?.matches(".missed")) shown.missed = true;
			}
		}, 20);
		true
	}`)
	if err := victim.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	page.until(leaseCell("10.0.0.2%3A80") + `?.matches(".missed[title^='no heartbeat for ']:has(svg)")`) // not by colour alone
	page.accessible("a lease that runs out")
	page.lacks(`a[href$="10.0.0.2%3A80"]`)
	if low := slices.Min(ask[[]float64](page, `shown.living`)); low < living/2 || ask[bool](page, `shown.missed`) {
		t.Errorf("one that is alive was shown with %v s left of %d; that it missed heartbeats: %v", low, living, ask[bool](page, `shown.missed`))
	}
	ran := slices.Compact(ask[[]float64](page, `shown.dying`))
	if !slices.IsSortedFunc(ran, func(a, b float64) int { return int(b - a) }) || ran[len(ran)-1] > 1 || len(ran) < 3 {
		t.Errorf("one that died was shown with %v s left", ran)
	}
	page.says(`tr:has(a[href$="/left"]) .lease`, "no lease")

	page.click(`a[href$="/living"]`)
	page.until(`/^\ds of 8s$/.test(document.querySelector("section:has(#says) .lease")?.textContent)`)
	page.asksAboutWhatIsSeen()
	page.do(chromedp.EmulateViewport(360, 740))
	page.open("/services/shop")
	page.until(leaseCell("living") + `?.closest(".under") && /^\ds of 8s$/.test(` + leaseCell("living") + `.textContent)`)
}

// leaseCell finds what a service's page says of the lease of an instance.
func leaseCell(id string) string {
	return `document.querySelector(` + quote(`tr:has(a[href$="/`+id+`"]) .lease`) + `)`
}

// putCrowd registers instances of a service "many", all under one lease, of which less is left than there should be: it is asked about often.
func putCrowd(t *testing.T, client *clientv3.Client, count int) {
	t.Helper()
	lease, err := client.Grant(within(t, seeing), 45)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.KeepAlive(t.Context(), lease.ID); err != nil {
		t.Fatal(err)
	}
	for n := 0; n < count; n += 125 {
		var ops []clientv3.Op
		for i := range 125 {
			ops = append(ops, clientv3.OpPut(fmt.Sprintf("rollcall/services/many/i-%04d", n+i), `{"Addr":"10.0.0.1:80","TTL":80}`, clientv3.WithLease(lease.ID)))
		}
		flush(t, client, ops)
	}
}

// asksAboutWhatIsSeen goes to the service "many". Of all its leases only those of rows in sight may be asked about, one question at a time, and
// the table may not be made anew whenever a second has passed.
func (p *tab) asksAboutWhatIsSeen() {
	p.t.Helper()
	ask[bool](p, `{
		window.asked = [];
		window.most = 0;
		let under = 0;
		const plain = window.fetch;
		window.fetch = async (path, options) => {
			if (!String(path).includes("/many/leases?")) return plain(path, options);
			asked.push(new URL(path, location).searchParams.getAll("ids"));
			most = Math.max(most, ++under);
			if (window.held) await new Promise((release) => (window.release = release));
			try { return await plain(path, options); } finally { under--; }
		};
		window.visible = () => [...document.querySelectorAll("tbody th a")].filter((a) => { const r = a.closest("tr").getBoundingClientRect(); return r.bottom > 0 && r.top < innerHeight; }).map((a) => a.textContent);
		window.third = () => [...document.querySelectorAll("tbody tr")].find((tr) => tr.querySelector("th a")?.textContent === visible()[2]).querySelector(".lease");
		const sort = Array.prototype.toSorted;
		window.sorted = 0;
		Array.prototype.toSorted = function (...how) { sorted++; return sort.apply(this, how); };
		true
	}`)
	p.click(`.crumbs a[href="/services"]`)
	p.click(`tbody a[href$="/many"]`)
	p.says(".heading .sum", "5000 serving")
	p.until(`visible().length > 5 && asked.length > 0 && visible().every((id) => asked.flat().includes(id))`)
	if beyond := ask[[]string](p, `[...new Set(asked.flat())].filter((id) => !visible().includes(id))`); len(beyond) > 1 { // a row at the edge
		p.t.Errorf("asked about %q, which nobody sees", beyond)
	}
	p.until(`third().textContent.endsWith("s of 1m")`)
	p.do(chromedp.EmulateViewport(1280, 6000)) // more than can be asked about at once
	p.until(`visible().length > 110 && visible().every((id) => asked.flat().includes(id))`)
	p.do(chromedp.EmulateViewport(1280, 800))
	ask[bool](p, `{ scrollTo(0, 50_000); true }`)
	p.until(`visible().length > 5 && !visible().includes("i-0000") && visible().every((id) => asked.flat().includes(id))`) // at once
	p.until(`/^\d+s of 1m$/.test(third().textContent)`)
	ask[bool](p, `(async () => { for (let before = -1; before !== sorted; await new Promise((done) => setTimeout(done, 200))) before = sorted; sorted = 0; return true; })()`) // scrolled to its end
	p.until(`asked.filter((ids) => ids.includes(visible()[2])).length > 1`)                                                                                                    // again, and again
	ask[bool](p, `window.held = true`)
	p.until(`window.release`)
	before := ask[string](p, `third().textContent`)
	p.until(`/^\d+s of 1m$/.test(third().textContent) && third().textContent !== ` + quote(before)) // it is counted down by the page, too
	if n := ask[int](p, `sorted`); n > 0 {
		p.t.Errorf("the whole table was made anew %d times while time went by", n)
	}
	ask[bool](p, `{ window.held = false; scrollTo(0, 80_000); setTimeout(release, 500); true }`) // whoever comes into sight has to wait
	p.until(`Number(visible()[0]?.slice(2)) > 1900 && visible().every((id) => asked.flat().includes(id))`)
	if n := ask[int](p, `Math.max(...asked.map((ids) => ids.length))`); n > 100 {
		p.t.Errorf("a question was about %d instances", n)
	}
	if n := ask[int](p, `most`); n != 1 {
		p.t.Errorf("%d questions were under way at once", n)
	}
}
