package integration

import (
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
)

func TestAnInstanceIsDrainedWithAReasonAndThatIsUndone(t *testing.T) {
	etcd := etcdtest.Start(t)
	reg := open(t, etcd.Endpoint())
	register(t, reg, "shop", rollcall.Instance{Addr: "10.0.0.1:80", Zone: "a", Version: "v1"})
	second := register(t, reg, "shop", rollcall.Instance{Addr: "10.0.0.2:80", Zone: "b", Version: "v2"})
	page := browse(t, serveProcess(t, etcd).url())
	page.open("/services/shop")
	page.says("tbody th a", "10.0.0.1:80")
	page.says("tr.group", "b")
	page.accessible("a service")
	page.click(`button[aria-label="Drain 10.0.0.2:80"]`)
	page.says("dialog .preview", "This leaves 1 of 2 to be called, zone b empty, version v2 empty")
	page.accessible("the dialog of a drain")
	page.fill("Why", "disk is failing")
	page.fill("Your name", "ada")
	page.do(chromedp.KeyEvent(kb.Enter))
	page.says(`tr:has(a[href$="10.0.0.2%3A80"])`, "drained by ada: disk is failing")
	page.says(`tr:has(a[href$="10.0.0.2%3A80"]) .state`, "draining")
	if got, err := reg.Override(within(t, seeing), "shop", "10.0.0.2:80"); err != nil || !got.Drain || got.Reason != "disk is failing" || got.Author != "ada" {
		t.Errorf("the override is %+v, %v", got, err)
	}

	page.click(`a[href$="10.0.0.2%3A80"]`)
	page.says("h1", "10.0.0.2:80")
	page.says("section .facts", "disk is failing")
	page.says(".events", "drained")
	page.accessible("an instance")
	page.choose(".heading", "Undo")
	page.fill("Why", "a new disk")
	page.do(chromedp.KeyEvent(kb.Enter))
	page.says(".heading .state", "serving")
	page.says(".events", "a new disk")
	if v, err := reg.Lookup(within(t, seeing), "shop"); err != nil || len(slices.Collect(v.Ready())) != 2 {
		t.Errorf("to be called are %v, %v", v, err)
	}

	if err := second.Deregister(within(t, seeing)); err != nil {
		t.Fatal(err)
	}
	page.says(".notice", "It left")
	page.says(".events", "left")
	page.lacks(".acts button")
}

func TestADecisionThatSomebodyElseHasTakenMeanwhileIsNotOverwritten(t *testing.T) {
	etcd := etcdtest.Start(t)
	reg := open(t, etcd.Endpoint())
	register(t, reg, "shop", rollcall.Instance{Addr: "10.0.0.1:80"})
	page := browse(t, serveProcess(t, etcd).url())
	page.open("/services/shop/" + url.PathEscape("10.0.0.1:80"))
	page.choose(".heading", "Weight")
	page.fill("Weight", "10")
	page.fill("Why", "half the memory")
	if _, err := reg.SetOverride(within(t, seeing), "shop", "10.0.0.1:80", rollcall.Override{Drain: true, Reason: "heap dump", Author: "bob"}); err != nil {
		t.Fatal(err)
	}
	page.do(chromedp.KeyEvent(kb.Enter))
	page.says("dialog .failure", "bob has drained it meanwhile: heap dump. Nothing was written")
	if got, err := reg.Override(within(t, seeing), "shop", "10.0.0.1:80"); err != nil || got.Weight != 0 || got.Author != "bob" {
		t.Errorf("the override is %+v, %v", got, err)
	}
}

// What others have written is text, whatever it looks like: the browser neither runs it nor lets it turn round what stands beside it.
func TestHostileNamesAndMetadataStayText(t *testing.T) {
	etcd := etcdtest.Start(t)
	reg := open(t, etcd.Endpoint())
	script, image := `<script>window.hurt=1</script>`, `"><img src=x onerror="window.hurt = 1">`
	long := strings.Repeat("long ", 2000)
	register(t, reg, "shop", rollcall.Instance{ID: image, Addr: "10.0.0.1:80", Zone: script, Version: "v1\u202egnp", Metadata: map[string]string{script: image, "long": long, "emoji": "🚀 مرحبا", "turned": "abc\u202edef", "javascript:hurt": "${hurt}"}})
	page := browse(t, serveProcess(t, etcd).url())
	for _, path := range []string{"/", "/services/shop", "/services/shop/" + url.PathEscape(image)} {
		page.open(path)
		page.says("#app", script)
		if found := ask[bool](page, `window.hurt !== undefined || document.querySelector("#app script, #app img, #app [onerror]") !== null`); found {
			t.Errorf("%s: what somebody registered has become a part of the page", path)
		}
	}
	page.says("h1", image)
	page.says(".facts", image)
	page.says(".facts", "🚀 مرحبا")
	page.says(".facts", "abcU+202Edef")
	page.choose(".facts", "show all 10,000 characters")
	page.says(".facts", long)
	page.accessible("an instance of somebody hostile")
}
