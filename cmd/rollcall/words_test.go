package main

import (
	"errors"
	"fmt"
	"testing"

	"github.com/rollcall-io/rollcall"
)

func TestErrorsNameTheFlagAndNotTheField(t *testing.T) {
	t.Parallel()
	refuse := func(field, value string) error {
		return &rollcall.InvalidError{Field: field, Value: value, Rule: "the rule"}
	}
	for _, c := range []struct {
		err  error
		want string
	}{
		{fmt.Errorf("register: %w", refuse("TTL", "4s")), "register: --ttl 4s: the rule"},
		{refuse(`Instance.Addrs["http"]`, `"x"`), `--addr "http" "x": the rule`},
		{errors.Join(refuse("Config.History", "1s"), refuse("Config.QuotaBytes", "1")), "--history 1s: the rule\n--quota 1: the rule"},
		{refuse("prefix", `"a/"`), `ROLLCALL_PREFIX "a/": the rule`},
		{refuse("Config.Prefix", `"a/"`), `ROLLCALL_PREFIX "a/": the rule`},
		{refuse("new field", "1"), "new field 1: the rule"},
		{errors.New("TTL 4s: the rule"), "TTL 4s: the rule"},
	} {
		if got := inFlagWords(c.err, map[string]string{"--prefix": "ROLLCALL_PREFIX"}); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}
