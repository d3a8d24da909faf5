package integration

import (
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
)

func TestTheStatusShowsHowTheServersAndEtcdAre(t *testing.T) {
	etcd := etcdtest.Start(t)
	reg := open(t, etcd.Endpoint())
	register(t, reg, "shop", rollcall.Instance{Addr: "10.0.0.1:80"})
	server := serveProcessWith(t, "--etcd", etcd.Endpoint(), "--canary", "1s")
	page := browse(t, server.url())
	page.open("/")
	page.click(`nav a[href="/status"]`)
	page.says("h1", "Status")
	page.says("section:has(#servers) tbody th", server.grpc)
	page.says("section:has(#servers) tbody th", "this one")
	page.says("section:has(#etcd) tbody td", "leader")
	page.says("section:has(#etcd) tbody td", "KiB in use of")
	page.says("section:has(#etcd)", "No alarm is raised")
	page.says("section:has(#registry) dd", "rollcall")
	page.until(`/^the last one \d+(\.\d+)? (ms|µs|s)$/.test(document.querySelector(".plot figcaption span")?.textContent)`)
	page.until(`document.querySelectorAll(".plot .dots circle").length > 1`) // it goes on
	page.says(".doctor .examined summary", "examinations")
	if found := ask[string](page, `[...document.querySelectorAll(".doctor .findings li")].map((li) => li.textContent).join("\n")`); found == "" {
		page.says(".doctor .nothing", "nothing found")
	} else { // a machine that is busy is slow, and several etcds in one process share what they count
		t.Logf("the doctor has found: %s", found)
	}
	page.accessible("the status")

	put(t, etcd.Client(t), "rollcall/services/left/a", `{"Addr":"10.0.0.4:80","TTL":15, "Metadata":{}}`)
	page.choose(".doctor", "Look again")
	page.says(".doctor .findings li", "key-without-lease")
	page.says(".doctor .findings .state", "warning")
	page.says(".doctor .findings .advice", "rollcall deregister")
	page.says(".doctor .findings .evidence", "left/a")
	page.accessible("the status with a finding")

	server.kill()
	page.says(".banners", "The server is out of reach since")
	page.says("section:has(#etcd) tbody td", "leader") // what is known stays
	page.says(".heading", "as it was")
	server.start()
	page.until(`document.querySelector(".banner") === null`)
	page.says(".heading", "asked every 5 s")
}

func TestTheStatusIsForAdminsAndOthersAreToldSo(t *testing.T) {
	guarded := serveGuarded(t, `
rules:
- identities: ["token:reader", "token:ops"]
  verbs: [read]
  services: ["*"]
- identities: ["token:ops"]
  verbs: [admin]
`, "reader", "ops")
	page := browse(t, guarded.http, chromedp.Flag("ignore-certificate-errors", true))
	page.open("/status")
	page.says(".empty", "How the servers are is for admins")
	page.present("reader", "Give a token")
	page.says(".empty", "token:reader has not")
	page.lacks(`nav a[href="/status"]`)
	page.lacks(".failure")
	page.accessible("the status for somebody who may not know")
	page.present("ops", "You are token:reader")
	page.says("nav a", "Status")
	page.says("section:has(#etcd) tbody td", "leader")
}
