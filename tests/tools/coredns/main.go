// CoreDNS with no more plugins than the tests ask of it.
package main

import (
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/coremain"

	_ "github.com/coredns/coredns/plugin/bind"
	_ "github.com/coredns/coredns/plugin/cache"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/etcd"
	_ "github.com/coredns/coredns/plugin/forward"
	_ "github.com/coredns/coredns/plugin/log"
)

func main() {
	// A request passes through them in this order.
	dnsserver.Directives = []string{"bind", "errors", "log", "cache", "etcd", "forward"}
	coremain.Run()
}
