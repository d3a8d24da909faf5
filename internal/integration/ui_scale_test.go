package integration

import (
	"fmt"
	"testing"

	"github.com/chromedp/chromedp"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/rollcall-io/rollcall/internal/etcdtest"
)

// measured is how the page did something, in milliseconds, the best of a few times: what else runs on the machine makes it slower only.
const measured = `
	const frame = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
	const best = async (act) => { let best = Infinity; for (let n = 0; n < 6; n++) { const began = performance.now(); await act(); await frame(); best = Math.min(best, performance.now() - began); } return best; };`

func TestFiveThousandServicesStayFluid(t *testing.T) {
	if testing.Short() {
		t.Skip("5,000 services")
	}
	const services, changes = 5000, 7200 // two changes a second, for an hour
	etcd := etcdtest.Start(t)
	client := etcd.Client(t)
	say(t, client, services*2, func(n int) (service, instance, version int) { return n / 2, n % 2, 1 })
	page := browse(t, serveProcess(t, etcd).url(), weighing...)
	first := 1e9
	for range 4 {
		page.open("/")
		page.says(".heading .sum", "5,000 services, 10,000 instances")
		first = min(first, ask[float64](page, `performance.getEntriesByName("first-contentful-paint")[0].startTime`))
	}
	if first > 1000 {
		t.Errorf("the first paint took %.0f ms", first)
	}
	if rows := ask[int](page, `document.querySelectorAll("tbody a").length`); rows == 0 || rows > 100 {
		t.Errorf("%d rows of 5,000 are drawn, where some 30 can be seen", rows)
	}
	search := ask[float64](page, `(async () => {`+measured+`
		const field = document.querySelector("input[type=search]");
		const type = (text) => () => { field.value = ""; field.dispatchEvent(new Event("input", {bubbles: true})); field.value = text; field.dispatchEvent(new Event("input", {bubbles: true})); };
		const all = [];
		for (const text of ["s", "service-4", "service-49", "service-4999"]) all.push(await best(type(text)));
		return Math.max(...all);
	})()`)
	if search > 100 {
		t.Errorf("a search took %.0f ms", search)
	}

	page.open("/")
	page.says(".heading .sum", "5,000 services, 10,000 instances")
	hour := func(version int) (heap float64) {
		say(t, client, changes, func(n int) (int, int, int) { return n % services, n % 2, version })
		done := fmt.Sprintf("aaa-%d", version) // is told last, and sorts first
		put(t, client, "rollcall/services/"+done+"/10.0.0.1:80", `{"Addr":"10.0.0.1:80"}`)
		page.says("tbody a", done)
		return page.weight()
	}
	before, after := hour(2), hour(3)
	t.Logf("first paint %.0f ms, search %.0f ms, memory %.1f MB before and %.1f MB after an hour's changes", first, search, before/1e6, after/1e6)
	if after > 1.2*before {
		t.Errorf("memory grew from %.0f to %.0f bytes by an hour's changes", before, after)
	}
}

// weighing lets a browser say what it weighs.
var weighing = []chromedp.ExecAllocatorOption{chromedp.Flag("js-flags", "--expose-gc"), chromedp.Flag("enable-precise-memory-info", true)}

// weight is how many bytes the page's program holds.
func (p *tab) weight() float64 {
	p.t.Helper()
	return ask[float64](p, `(async () => { for (let n = 0; n < 3; n++) await gc({type: "major", execution: "async"}); return performance.memory.usedJSHeapSize; })()`)
}

// say writes what instances say of themselves, one after the other.
func say(t *testing.T, client *clientv3.Client, count int, which func(n int) (service, instance, version int)) {
	t.Helper()
	var ops []clientv3.Op
	for n := range count {
		service, instance, version := which(n)
		addr := fmt.Sprintf("10.%d.%d.%d:8080", service>>8, service&255, instance)
		ops = append(ops, clientv3.OpPut(fmt.Sprintf("rollcall/services/team-%d.service-%d/%s", service%97, service, addr), fmt.Sprintf(`{"Addr":%q,"Zone":%q,"Version":"v%d"}`, addr, "abc"[instance:instance+1], version)))
		if len(ops) == 125 || n == count-1 {
			flush(t, client, ops)
			ops = ops[:0]
		}
	}
}

func flush(t *testing.T, client *clientv3.Client, ops []clientv3.Op) {
	t.Helper()
	if _, err := client.Txn(within(t, seeing)).Then(ops...).Commit(); err != nil {
		t.Fatal(err)
	}
}
