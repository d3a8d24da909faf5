package integration

import (
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
)

func TestAPolicyIsRefusedWhereItIsWrongAndAppliedWhenItIsRight(t *testing.T) {
	etcd := etcdtest.Start(t)
	reg := open(t, etcd.Endpoint())
	register(t, reg, "shop", rollcall.Instance{Addr: "10.0.0.1:80", Version: "v1"})
	register(t, reg, "shop", rollcall.Instance{Addr: "10.0.0.2:80", Version: "v2"})
	page := browse(t, serveProcess(t, etcd).url())
	page.open("/services/shop")
	page.choose(".aside", "Decide")
	for typed, said := range map[string]string{`{"timeout": `: "This is not JSON", `["a"]`: "A policy is an object", `{"timeout": "2x"}`: "timeout", `{"tiemout": "2s"}`: "tiemout"} {
		page.fill("Policy", typed)
		page.fill("Why", "slow disks")
		page.choose("dialog footer", "Decide")
		page.says("dialog .field.wrong em", said)
	}
	if _, err := reg.Policy(within(t, seeing), "shop"); err == nil {
		t.Error("a policy that was refused is there")
	}
	page.accessible("a policy that was refused")
	page.fill("Policy", `{"timeout": "2s", "split": {"v2": 10}}`)
	page.choose("dialog footer", "Decide")
	page.lacks("dialog")
	page.says(".aside pre", `"timeout": "2s"`)
	page.says(".shares", "v2 1 serving, decided10 %")
	got, err := reg.Policy(within(t, seeing), "shop")
	if err != nil || got.Split["v2"] != 10 || got.Reason != "slow disks" {
		t.Fatalf("the policy is %+v, %v", got, err)
	}

	page.choose(".aside", "Edit")
	page.fill("Why", "slower disks")
	got.Split["v2"], got.Reason = 20, "bob knows better"
	if _, err := reg.SetPolicy(within(t, seeing), "shop", got); err != nil {
		t.Fatal(err)
	}
	page.says("dialog .notice", "Somebody has changed the policy since you began: bob knows better")
	if !ask[bool](page, `document.querySelector("dialog button[type=submit]").disabled`) {
		t.Error("a policy can be written over one that was not seen")
	}
	page.choose("dialog .notice", "Take theirs")
	page.until(`document.querySelector("dialog textarea").value.includes('"v2": 20')`)
	page.choose("dialog footer", "Cancel")
	page.lacks("dialog")
	page.choose(".aside", "Take back")
	page.fill("Why", "it is over")
	page.do(chromedp.KeyEvent("\r"))
	page.says(".aside", "None: callers decide themselves.")
}
