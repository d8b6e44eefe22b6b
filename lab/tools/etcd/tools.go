//go:build tools

// Package tools names the command of etcd that the lab runs: so go.sum has all that it is made of.
package tools

import _ "go.etcd.io/etcd/server/v3"
