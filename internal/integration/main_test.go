// Package integration holds the tests that need a real etcd, which the tests of public packages may not link: it would
// weigh on every user of the library. Each file is named after the package it tests.
package integration

import (
	"testing"

	"github.com/rollcall-io/rollcall/internal/etcdtest"
)

func TestMain(m *testing.M) { etcdtest.Main(m) }
