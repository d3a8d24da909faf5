package integration

import (
	"fmt"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// ctl carries out commands as etcdctl would, without its name before them.
func ctl(t *testing.T, client *clientv3.Client, commands ...string) {
	t.Helper()
	for _, text := range commands {
		if err := parseCommand(t, text).run(t, client); err != nil {
			t.Fatalf("etcdctl %s: %v", text, err)
		}
	}
}

// command is one of etcdctl's.
type command struct {
	text  string
	args  []string
	user  string // of --user
	flags map[string]bool
}

// parseCommand takes a command apart. Nothing in it is quoted but what is empty.
func parseCommand(t *testing.T, text string) command {
	t.Helper()
	c := command{text: text, flags: map[string]bool{}}
	fields := strings.Fields(text)
	for n := 0; n < len(fields); n++ {
		flag, is := strings.CutPrefix(fields[n], "--")
		switch {
		case flag == "user" && is:
			n++
			c.user = fields[n]
		case is:
			c.flags[flag] = true
		default:
			c.args = append(c.args, strings.Trim(fields[n], `"`))
		}
	}
	return c
}

func (c command) run(t *testing.T, client *clientv3.Client) (err error) {
	t.Helper()
	ctx := within(t, 10*time.Second)
	switch c.args[0] {
	case "role", "user", "auth":
		return c.administer(t, client)
	case "get":
		opts := []clientv3.OpOption{clientv3.WithPrefix(), clientv3.WithKeysOnly()}
		if !c.flags["prefix"] || !c.flags["keys-only"] {
			t.Fatalf("etcdctl %s: expected --prefix and --keys-only", c.text)
		}
		_, err = client.Get(ctx, c.args[1], opts...)
	case "put":
		_, err = client.Put(ctx, c.args[1], c.args[2])
	default:
		err = fmt.Errorf("unknown command %q", c.args[0])
	}
	return err
}

// administer carries out a command about roles and users.
func (c command) administer(t *testing.T, client *clientv3.Client) (err error) {
	t.Helper()
	ctx, args := within(t, 10*time.Second), c.args[2:]
	switch strings.Join(c.args[:2], " ") {
	case "role add":
		_, err = client.RoleAdd(ctx, args[0])
	case "role get":
		_, err = client.RoleGet(ctx, args[0])
	case "role grant-permission":
		kind, unknown := clientv3.StrToPermissionType(args[1])
		if unknown != nil {
			return unknown
		}
		key, end := c.permitted(args[2])
		_, err = client.RoleGrantPermission(ctx, args[0], key, end, kind)
	case "role revoke-permission":
		key, end := c.permitted(args[1])
		_, err = client.RoleRevokePermission(ctx, args[0], key, end)
	case "user add":
		opts, secret := &clientv3.UserAddOptions{NoPassword: c.flags["no-password"]}, ""
		if !opts.NoPassword {
			secret = secretOf(args[0]) // which etcdctl asks for
		}
		_, err = client.UserAddWithOptions(ctx, args[0], secret, opts)
	case "user grant-role":
		_, err = client.UserGrantRole(ctx, args[0], args[1])
	case "auth enable":
		_, err = client.AuthEnable(ctx)
	case "auth disable":
		_, err = client.AuthDisable(ctx)
	default:
		err = fmt.Errorf("unknown command %q", c.text)
	}
	return err
}

// permitted returns the range that a permission is about. The smallest key stands for the empty one.
func (c command) permitted(key string) (from, end string) {
	switch {
	case key == "" && c.flags["prefix"]:
		return "\x00", "\x00"
	case c.flags["prefix"]:
		return key, clientv3.GetPrefixRangeEnd(key)
	}
	return key, ""
}
