package haproxy

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Config is what haproxy.cfg says.
type Config struct {
	Port           int
	ConnectTimeout time.Duration
	IdleTimeout    time.Duration // of client and server side
	CheckTimeout   time.Duration
	Retries        int
	Redispatch     bool
	CheckPath      string // "": a plain TCP check
	Inter          time.Duration
	Fall, Rise     int
	Servers        []ServerConfig
}

// ServerConfig is one server line.
type ServerConfig struct{ Name, Address string }

// Text writes the configuration as the file of a kubeadm cluster's load balancer
// (kubernetes/kubeadm docs/ha-considerations.md).
func (c *Config) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "defaults\n    mode tcp\n    option redispatch\n    retries %d\n", c.Retries)
	fmt.Fprintf(&b, "    timeout connect %s\n    timeout client %s\n    timeout server %s\n    timeout check %s\n\n",
		short(c.ConnectTimeout), short(c.IdleTimeout), short(c.IdleTimeout), short(c.CheckTimeout))
	fmt.Fprintf(&b, "frontend apiserver\n    bind *:%d\n    default_backend apiserver\n\nbackend apiserver\n", c.Port)
	check := "check"
	if c.CheckPath != "" {
		fmt.Fprintf(&b, "    option httpchk GET %s\n    http-check expect status 200\n", c.CheckPath)
		check = "check check-ssl verify none"
	}
	fmt.Fprintf(&b, "    balance roundrobin\n    default-server inter %s fall %d rise %d\n", short(c.Inter),
		c.Fall, c.Rise)
	for _, s := range c.Servers {
		fmt.Fprintf(&b, "    server %s %s %s\n", s.Name, s.Address, check)
	}
	return b.String()
}

// short writes a duration as haproxy does: 2s, 1h, 500ms.
func short(d time.Duration) string {
	switch {
	case d >= time.Hour && d%time.Hour == 0:
		return fmt.Sprintf("%dh", d/time.Hour)
	case d >= time.Second && d%time.Second == 0:
		return fmt.Sprintf("%ds", d/time.Second)
	default:
		return fmt.Sprintf("%dms", d/time.Millisecond)
	}
}

// Parse reads haproxy.cfg. Defaults are haproxy's: retries 3, inter 2s, fall 3, rise 2.
func Parse(text string) (*Config, error) {
	c := &Config{Retries: 3, Inter: 2 * time.Second, Fall: 3, Rise: 2}
	for i, line := range strings.Split(text, "\n") {
		line, _, _ = strings.Cut(line, "#")
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		if err := c.line(words); err != nil {
			return nil, fmt.Errorf("parsing [/etc/haproxy/haproxy.cfg:%d] : %w", i+1, err)
		}
	}
	if c.Port == 0 {
		return nil, fmt.Errorf("no 'bind' line in any frontend")
	}
	return c, nil
}

func (c *Config) line(words []string) (err error) {
	argument := func(i int) string {
		if i < len(words) {
			return words[i]
		}
		return ""
	}
	switch words[0] {
	case "bind":
		c.Port, err = strconv.Atoi(argument(1)[strings.LastIndex(argument(1), ":")+1:])
	case "retries":
		c.Retries, err = strconv.Atoi(argument(1))
	case "option":
		switch argument(1) {
		case "redispatch":
			c.Redispatch = true
		case "httpchk":
			c.CheckPath = argument(len(words) - 1)
		}
	case "timeout":
		var d time.Duration
		if d, err = duration(argument(2)); err != nil {
			break
		}
		switch argument(1) {
		case "connect":
			c.ConnectTimeout = d
		case "client", "server":
			c.IdleTimeout = d
		case "check":
			c.CheckTimeout = d
		}
	case "default-server":
		for i := 1; i+1 < len(words) && err == nil; i += 2 {
			switch words[i] {
			case "inter":
				c.Inter, err = duration(words[i+1])
			case "fall":
				c.Fall, err = strconv.Atoi(words[i+1])
			case "rise":
				c.Rise, err = strconv.Atoi(words[i+1])
			}
		}
	case "server":
		if len(words) < 3 {
			return fmt.Errorf("'server' expects <name> and <addr>[:<port>] as arguments")
		}
		c.Servers = append(c.Servers, ServerConfig{words[1], words[2]})
	}
	return err
}

// duration parses haproxy's times; a bare number is milliseconds.
func duration(text string) (time.Duration, error) {
	if n, err := strconv.Atoi(text); err == nil {
		return time.Duration(n) * time.Millisecond, nil
	}
	if days, isDays := strings.CutSuffix(text, "d"); isDays {
		n, err := strconv.Atoi(days)
		return time.Duration(n) * 24 * time.Hour, err
	}
	return time.ParseDuration(text)
}
