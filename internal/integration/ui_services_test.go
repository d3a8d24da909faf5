package integration

import (
	"fmt"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
)

func TestThePageShowsWhoComesAndGoesWithoutBeingLoadedAnew(t *testing.T) {
	etcd := etcdtest.Start(t)
	reg := open(t, etcd.Endpoint())
	page := browse(t, serveProcess(t, etcd).url())
	page.open("/")
	page.says("h1", "Services")
	ask[bool](page, `window.same = true`)
	fastest := time.Hour
	var first []*rollcall.Registration
	for n := range 5 {
		began := time.Now()
		first = append(first, register(t, reg, fmt.Sprintf("svc-%d", n), rollcall.Instance{Addr: "10.0.0.1:80", Zone: "a", Version: "v1"}))
		page.says("tbody a", fmt.Sprintf("svc-%d", n))
		fastest = min(fastest, time.Since(began))
	}
	if fastest > time.Second {
		t.Errorf("the fastest of five took %v to be seen", fastest)
	}
	second := register(t, reg, "svc-0", rollcall.Instance{Addr: "10.0.0.2:80", Zone: "b", Version: "v2", State: rollcall.StateDraining})
	page.says(`tr:has(a[href="/services/svc-0"]) .bar`, "1 serving, 1 draining")
	page.says(`tr:has(a[href="/services/svc-0"])`, "v2")
	if err := second.Deregister(within(t, seeing)); err != nil {
		t.Fatal(err)
	}
	page.until(`document.querySelector('tr:has(a[href="/services/svc-0"]) .bar')?.textContent.includes("1/1")`)
	if err := first[4].Deregister(within(t, seeing)); err != nil {
		t.Fatal(err)
	}
	page.lacks(`a[href="/services/svc-4"]`)
	page.says(".heading .sum", "4 services, 4 instances")
	page.accessible("the services")
	if !ask[bool](page, `window.same === true`) {
		t.Error("the page was loaded anew")
	}
}

func TestServicesAreFoundByTypingAndByTheKeyboardAlone(t *testing.T) {
	etcd := etcdtest.Start(t)
	reg := open(t, etcd.Endpoint())
	for n := range 30 {
		register(t, reg, fmt.Sprintf("team-%d.orders-%d", n%3, n), rollcall.Instance{Addr: "10.0.0.1:80", Zone: string("abc"[n%3])})
	}
	page := browse(t, serveProcess(t, etcd).url())
	page.open("/services")
	page.until(`document.querySelectorAll("tbody a").length === 30`)
	ask[bool](page, `document.body.dispatchEvent(new KeyboardEvent("keydown", {key: "/", bubbles: true}))`) // as KeyEvent sends it the letter would be typed, too
	page.do(chromedp.KeyEvent("TEAM-1 orders-2"))
	page.until(`[...document.querySelectorAll("tbody a")].map((a) => a.textContent).join() === "team-1.orders-22,team-1.orders-25,team-1.orders-28"`)
	page.until(`location.search === "?q=TEAM-1+orders-2"`)
	page.do(chromedp.KeyEvent(kb.ArrowDown))
	page.until(`document.activeElement.textContent === "team-1.orders-22"`)
	page.do(chromedp.KeyEvent(kb.ArrowDown))
	page.until(`document.activeElement.textContent === "team-1.orders-25"`)
	page.do(chromedp.KeyEvent(kb.Enter))
	page.until(`location.pathname === "/services/team-1.orders-25"`)
	page.says("h1", "team-1.orders-25")
	ask[bool](page, `history.back() ?? true`)
	page.until(`document.querySelector("input[type=search]")?.value === "TEAM-1 orders-2"`)
	page.open("/services?zone=b&sort=-name") // as somebody else had it
	page.until(`document.querySelectorAll("tbody a").length === 10 && document.querySelector("tbody a").textContent === "team-1.orders-7"`)
}
