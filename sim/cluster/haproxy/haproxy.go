package haproxy

import (
	"fmt"
	"time"

	"ksim/sim"
	"ksim/sim/api"
	"ksim/sim/hardware"
)

// ConfigPath is the file that the service's command line names.
const ConfigPath = "/etc/haproxy/haproxy.cfg"

// balancer is a running haproxy.
type balancer struct {
	process *hardware.Process
	config  *Config
	servers []*server
	next    int // of the round robin
}

// server is one backend server and the state of its health check.
type server struct {
	balancer *balancer
	name     string
	address  string
	up       bool
	streak   int // of checks that contradict up
	check    *hardware.Transport
}

// Main runs haproxy -f FILE: it listens, checks its servers and joins connections. Exit status 1: a bad configuration
// or a port in use.
func Main(p *hardware.Process, argv []string) {
	path := ConfigPath
	for i := 0; i+1 < len(argv); i++ {
		if argv[i] == "-f" {
			path = argv[i+1]
		}
	}
	text, err := p.Machine().Disk().ReadFile(path)
	if err != nil {
		p.Exit(1, fmt.Sprintf("[ALERT] Could not open configuration file %s : %v", path, err))
		return
	}
	config, err := Parse(string(text))
	if err != nil {
		p.Exit(1, "[ALERT] config : "+err.Error())
		return
	}
	b := &balancer{process: p, config: config}
	for _, s := range config.Servers {
		// A server counts as UP until its checks have failed (configuration manual, "check").
		b.servers = append(b.servers, &server{balancer: b, name: s.Name, address: s.Address, up: true})
	}
	if _, err := p.Listen(config.Port, b.accept); err != nil {
		p.Exit(1, "[ALERT] Starting frontend apiserver: cannot bind socket")
		return
	}
	p.Publish(b)
	for i, s := range b.servers {
		// Checks are spread over the interval (configuration manual, "spread-checks" and server start).
		s.process().Scope().After(config.Inter*time.Duration(i)/time.Duration(len(b.servers)), "check", s.begin)
	}
}

func (s *server) process() *hardware.Process { return s.balancer.process }

// begin starts one health check, on a connection of its own. The connect time-out of a check is the smaller of timeout
// connect and inter (configuration manual, "timeout check").
func (s *server) begin() {
	config := s.balancer.config
	connect := min(config.ConnectTimeout, config.Inter)
	if config.CheckPath == "" {
		s.process().Dial(s.address, connect, func(c *hardware.Conn, err error) {
			if err == nil {
				c.Close()
			}
			s.checked(err)
		})
		return
	}
	s.check = hardware.NewTransport(s.process(), hardware.TransportConfig{DialTimeout: connect})
	request := &api.Request{Verb: api.Get, Path: config.CheckPath, UserAgent: "haproxy"}
	s.check.Start(s.address, request, config.CheckTimeout, func(resp any, err error) {
		if answer, ok := resp.(hardware.HTTPAnswer); err == nil && ok {
			if status, _ := answer.HTTPStatus(); status != 200 {
				err = fmt.Errorf("layer 7 wrong status, code %d", status)
			}
		}
		s.checked(err)
	})
}

// checked counts a check's outcome; the next one starts the interval after this one's end.
func (s *server) checked(err error) {
	b := s.balancer
	if s.check != nil {
		s.check.Close()
		s.check = nil
	}
	b.process.Scope().After(b.config.Inter, "check", s.begin)
	if (err == nil) == s.up {
		s.streak = 0
		return
	}
	s.streak++
	switch {
	case s.up && s.streak >= b.config.Fall:
		s.change(false, fmt.Sprintf("Server apiserver/%s is DOWN, reason: %v; %d of %d servers are left for new connections",
			s.name, err, b.countUp()-1, len(b.servers)), "fall", b.config.Fall)
	case !s.up && s.streak >= b.config.Rise:
		s.change(true, fmt.Sprintf("Server apiserver/%s is UP; %d of %d servers take new connections", s.name, b.countUp()+1,
			len(b.servers)), "rise", b.config.Rise)
	}
}

func (s *server) change(up bool, text, setting string, checks int) {
	s.up, s.streak = up, 0
	reason := "ServerDown"
	if up {
		reason = "ServerUp"
	}
	s.process().Scope().Emit(sim.Event{Level: sim.Story, Reason: reason, Object: "server/apiserver/" + s.name,
		Message: text,
		Setting: fmt.Sprintf("%s %d", setting, checks)})
}

func (b *balancer) countUp() int {
	n := 0
	for _, s := range b.servers {
		if s.up {
			n++
		}
	}
	return n
}

// pick returns the next server that is UP, avoiding one if there is another; nil when all are DOWN.
func (b *balancer) pick(avoid *server) *server {
	for range b.servers {
		s := b.servers[b.next]
		b.next = (b.next + 1) % len(b.servers)
		if s.up && s != avoid {
			return s
		}
	}
	if avoid != nil && avoid.up {
		return avoid
	}
	return nil
}

// session is one client connection and the server connection that it is joined with.
type session struct {
	balancer *balancer
	client   *hardware.Conn
	server   *hardware.Conn
	tries    int
	idle     sim.Timer
}

func (b *balancer) accept(client *hardware.Conn) {
	s := &session{balancer: b, client: client}
	client.OnClose(func(error) {
		if s.server != nil {
			s.server.Close()
		}
		s.end()
	})
	s.connect(b.pick(nil))
}

// connect dials a server; what fails is tried again, with redispatch on another server.
func (s *session) connect(to *server) {
	b := s.balancer
	if to == nil {
		s.client.Abort()
		return
	}
	s.tries++
	b.process.Dial(to.address, b.config.ConnectTimeout, func(conn *hardware.Conn, err error) {
		switch {
		case s.client.Closed():
			if conn != nil {
				conn.Close()
			}
		case err == nil:
			s.join(conn)
		case s.tries > b.config.Retries:
			s.client.Abort()
		case b.config.Redispatch:
			s.connect(b.pick(to))
		default:
			s.connect(to)
		}
	})
}

func (s *session) join(conn *hardware.Conn) {
	s.server = conn
	conn.OnClose(func(error) {
		s.client.Close()
		s.end()
	})
	conn.Forward(s.client)
	s.client.Forward(conn) // what came before it, too
	if s.balancer.config.IdleTimeout > 0 {
		s.idle = s.balancer.process.Scope().AfterRun(s.balancer.config.IdleTimeout, "timeout client", s)
	}
}

// Run closes the session when neither side has sent anything for the idle time-out. It runs once an idle time-out, not
// once a message.
func (s *session) Run() {
	scope, timeout := s.balancer.process.Scope(), s.balancer.config.IdleTimeout
	last := max(s.client.Received(), s.server.Received())
	if silent := scope.Now().Sub(last); silent < timeout {
		s.idle = scope.AfterRun(timeout-silent, "timeout client", s)
		return
	}
	s.client.Close()
	s.server.Close()
}

func (s *session) end() { s.idle.Stop() }
