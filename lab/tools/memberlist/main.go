// One member of a ring by hashicorp/memberlist, for tests: says as a line of JSON what it sees, does what lines on its
// standard input tell it, and ends with them.
package main

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

var output sync.Mutex

func say(event string, fields map[string]any) {
	output.Lock()
	defer output.Unlock()
	fields["event"] = event
	line, _ := json.Marshal(fields)
	fmt.Println(string(line))
}

func node(n *memberlist.Node) map[string]any {
	return map[string]any{
		"name": n.Name, "address": n.Addr.String(), "port": n.Port, "meta": string(n.Meta), "state": int(n.State),
	}
}

type delegate struct {
	mutex sync.Mutex
	meta  []byte
	state []byte
	queue memberlist.TransmitLimitedQueue
}

func (d *delegate) NodeMeta(int) []byte {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	return d.meta
}

func (d *delegate) NotifyMsg(message []byte) {
	say("heard", map[string]any{"bytes": len(message), "payload": string(message[:min(100, len(message))])})
}

func min(a, b int) int {
	if a < b {
		return a
	}
	return b
}

func (d *delegate) GetBroadcasts(overhead, limit int) [][]byte {
	return d.queue.GetBroadcasts(overhead, limit)
}
func (d *delegate) LocalState(bool) []byte { return d.state }
func (d *delegate) MergeRemoteState(state []byte, join bool) {
	say("merged", map[string]any{"state": string(state), "join": join})
}

type events struct{}

func (events) NotifyJoin(n *memberlist.Node)   { say("join", node(n)) }
func (events) NotifyLeave(n *memberlist.Node)  { say("leave", node(n)) }
func (events) NotifyUpdate(n *memberlist.Node) { say("update", node(n)) }

type news string

func (news) Invalidates(memberlist.Broadcast) bool { return false }
func (n news) Message() []byte                     { return []byte(n) }
func (news) Finished()                             {}

func key(text string) []byte {
	raw, err := hex.DecodeString(text)
	if err != nil {
		log.Fatal(err)
	}
	return raw
}

func main() {
	config := memberlist.DefaultLANConfig()
	d := &delegate{}
	keys, join := "", ""
	state := ""
	milliseconds := func(name string, what *time.Duration) {
		flag.Func(name, "in milliseconds", func(text string) error {
			value, err := time.ParseDuration(text + "ms")
			*what = value
			return err
		})
	}
	flag.StringVar(&config.Name, "name", "", "")
	flag.StringVar(&config.BindAddr, "bind", "", "")
	flag.StringVar(&config.Label, "label", "", "")
	flag.IntVar(&config.BindPort, "port", 7946, "")
	flag.StringVar(&keys, "keys", "", "in hex, comma between them; the first encrypts")
	flag.StringVar(&join, "join", "", "addresses with ports, comma between them")
	flag.StringVar(&state, "state", "", "what to tell in exchanges")
	flag.BoolVar(&config.EnableCompression, "compress", false, "")
	plain := flag.Bool("bare", false, "without any delegate, as MetalLB's speakers")
	protocol := flag.Int("protocol", 2, "the version spoken; 1 encrypts in the old way")
	flag.IntVar(&config.SuspicionMult, "suspicion", config.SuspicionMult, "")
	milliseconds("probe", &config.ProbeInterval)
	milliseconds("timeout", &config.ProbeTimeout)
	milliseconds("gossip", &config.GossipInterval)
	milliseconds("exchange", &config.PushPullInterval)
	milliseconds("dead", &config.GossipToTheDeadTime)
	milliseconds("reclaim", &config.DeadNodeReclaimTime)
	flag.Parse()

	config.AdvertisePort = config.BindPort
	config.ProtocolVersion = uint8(*protocol)
	config.TCPTimeout = 2 * time.Second
	d.state = []byte(state)
	config.Events = events{}
	if !*plain {
		config.Delegate = d
	}
	config.LogOutput = io.Discard
	if os.Getenv("VERBOSE") != "" {
		config.LogOutput = os.Stderr
	}
	if keys != "" {
		var all [][]byte
		for _, text := range strings.Split(keys, ",") {
			all = append(all, key(text))
		}
		ring, err := memberlist.NewKeyring(all, all[0])
		if err != nil {
			log.Fatal(err)
		}
		config.Keyring = ring
	}
	list, err := memberlist.Create(config)
	if err != nil {
		log.Fatal(err)
	}
	d.queue.NumNodes = list.NumMembers
	d.queue.RetransmitMult = config.RetransmitMult
	say("ready", map[string]any{})
	if join != "" {
		// again and again: the others may be starting, too
		go func() {
			for _, err := list.Join(strings.Split(join, ",")); err != nil; _, err = list.Join(strings.Split(join, ",")) {
				say("not joined", map[string]any{"why": err.Error()})
				time.Sleep(200 * time.Millisecond)
			}
		}()
	}

	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		words := strings.SplitN(lines.Text(), " ", 3)
		switch words[0] {
		case "leave":
			err := list.Leave(5 * time.Second)
			say("left", map[string]any{"in_time": err == nil})
		case "meta":
			d.mutex.Lock()
			d.meta = []byte(words[1])
			d.mutex.Unlock()
			list.UpdateNode(time.Second)
		case "broadcast":
			d.queue.QueueBroadcast(news(words[1]))
		case "send":
			for _, n := range list.Members() {
				if n.Name == words[1] {
					list.SendReliable(n, []byte(words[2]))
				}
			}
		case "add-key":
			config.Keyring.AddKey(key(words[1]))
		case "use-key":
			config.Keyring.UseKey(key(words[1]))
		case "remove-key":
			config.Keyring.RemoveKey(key(words[1]))
		}
		say("done", map[string]any{"command": words[0]})
	}
	list.Shutdown()
}
