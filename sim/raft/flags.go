package raft

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// Config is what etcd's flags say. Names and defaults are etcd's (server/embed/config.go, v3.6; those of v3.5
// differ where it is said).
type Config struct {
	Name                string
	DataDir             string
	WALDir              string
	ListenPeerURLs      []string
	ListenClientURLs    []string
	ListenMetricsURLs   []string
	AdvertisePeerURLs   []string
	AdvertiseClientURLs []string
	InitialCluster      string
	InitialClusterToken string
	NewCluster          bool
	ForceNewCluster     bool
	Heartbeat           time.Duration // --heartbeat-interval, 100 ms
	Election            time.Duration // --election-timeout, 1000 ms
	InitialTickAdvance  bool
	PreVote             bool // on from v3.5 (etcd-io/etcd#12770); a v3.4 is given --pre-vote=false
	SnapshotCount       uint64
	CatchUpEntries      uint64 // --snapshot-catchup-entries, 5000
	QuotaBytes          int64
	MaxRequestBytes     int
	MaxTxnOps           int
	MaxLearners         int
	StrictReconfig      bool
	WatchProgress       time.Duration // --watch-progress-notify-interval, 10 min
	CompactionMode      string
	CompactionRetention string
	UnsafeNoFsync       bool
	Version             string // --ksim-version: which release the program is; not a flag of etcd
	unmodelled          []string
}

const (
	defaultQuota      = 2 << 30 // 2 GiB: storage/quota.go, v3.6
	readIndexRetry    = 500 * time.Millisecond
	maxApplyGap       = 5000            // maxGapBetweenApplyAndCommitIndex, etcdserver/v3_server.go
	healthInterval    = 5 * time.Second // HealthInterval: since when a member must be connected for a reconfiguration
	connReadTimeout   = 5 * time.Second // rafthttp.ConnReadTimeout
	dialRetry         = 100 * time.Millisecond
	dialBase          = time.Second            // of the dial time-out between members; the election time-out is added
	snapshotBandwidth = 100 << 20              // bytes a second. chosen: a gigabit network
	leaseExpireEvery  = 500 * time.Millisecond // lessor.runLoop
	watchSyncEvery    = 100 * time.Millisecond // watchableStore.syncWatchersLoop
	maxNoLeaderCount  = 3                      // v3rpc.maxNoLeaderCnt
	maxInflightMsgs   = 512                    // etcdserver/raft.go
	maxSizePerMessage = 1 << 20                // 1 MiB: etcdserver/bootstrap.go
	minLeaseTTL       = 2                      // seconds: 3/2 election time-outs, rounded up
	maxLeaseTTL       = 9000000000
)

// requestTimeout is how long a proposal or linearizable read may take: 5 s for the queue, and two elections
// (config.ServerConfig.ReqTimeout, v3.6).
func (c *Config) requestTimeout() time.Duration { return 5*time.Second + 2*c.Election }

func (c *Config) electionTicks() int { return ticks(c.Election, c.Heartbeat) }

func (c *Config) walPath() string {
	if c.WALDir != "" {
		return c.WALDir + "/wal"
	}
	return c.DataDir + "/member/wal/0.wal"
}

func (c *Config) dbPath() string { return DatabasePath(c.DataDir) }

// DatabasePath returns where a member with that data directory keeps its database.
func DatabasePath(dataDir string) string { return strings.TrimSuffix(dataDir, "/") + "/member/snap/db" }

// rawFlags are flags whose values are not used as they are.
type rawFlags struct {
	peer, client, metrics, advertisePeer, advertiseClient, state string
	heartbeat, election                                          uint
	quota                                                        int64
}

// define declares etcd's flags.
func (c *Config) define(fs *pflag.FlagSet, raw *rawFlags) {
	const localPeer, localClient = "http://localhost:2380", "http://localhost:2379"
	fs.StringVar(&c.Name, "name", "default", "")
	fs.StringVar(&c.DataDir, "data-dir", "", "")
	fs.StringVar(&c.WALDir, "wal-dir", "", "")
	fs.StringVar(&raw.peer, "listen-peer-urls", localPeer, "")
	fs.StringVar(&raw.client, "listen-client-urls", localClient, "")
	fs.StringVar(&raw.metrics, "listen-metrics-urls", "", "")
	fs.StringVar(&raw.advertisePeer, "initial-advertise-peer-urls", localPeer, "")
	fs.StringVar(&raw.advertiseClient, "advertise-client-urls", localClient, "")
	fs.StringVar(&c.InitialCluster, "initial-cluster", "", "")
	fs.StringVar(&c.InitialClusterToken, "initial-cluster-token", "etcd-cluster", "")
	fs.StringVar(&raw.state, "initial-cluster-state", "new", "")
	fs.BoolVar(&c.ForceNewCluster, "force-new-cluster", false, "")
	fs.UintVar(&raw.heartbeat, "heartbeat-interval", 100, "")
	fs.UintVar(&raw.election, "election-timeout", 1000, "")
	fs.BoolVar(&c.InitialTickAdvance, "initial-election-tick-advance", true, "")
	fs.BoolVar(&c.PreVote, "pre-vote", true, "")
	fs.Uint64Var(&c.SnapshotCount, "snapshot-count", 10000, "") // 100000 from v3.2 to v3.5
	fs.Uint64Var(&c.CatchUpEntries, "snapshot-catchup-entries", 5000, "")
	fs.Uint64Var(&c.CatchUpEntries, "experimental-snapshot-catchup-entries", 5000, "")
	fs.Int64Var(&raw.quota, "quota-backend-bytes", 0, "")
	fs.IntVar(&c.MaxRequestBytes, "max-request-bytes", 1536*1024, "")
	fs.IntVar(&c.MaxTxnOps, "max-txn-ops", 128, "")
	fs.IntVar(&c.MaxLearners, "max-learners", 1, "")
	fs.IntVar(&c.MaxLearners, "experimental-max-learners", 1, "")
	fs.BoolVar(&c.StrictReconfig, "strict-reconfig-check", true, "")
	fs.DurationVar(&c.WatchProgress, "watch-progress-notify-interval", 10*time.Minute, "")
	fs.DurationVar(&c.WatchProgress, "experimental-watch-progress-notify-interval", 10*time.Minute, "")
	fs.StringVar(&c.CompactionMode, "auto-compaction-mode", "periodic", "")
	fs.StringVar(&c.CompactionRetention, "auto-compaction-retention", "0", "")
	fs.BoolVar(&c.UnsafeNoFsync, "unsafe-no-fsync", false, "")
	fs.StringVar(&c.Version, "ksim-version", "3.6.6", "")
	for _, name := range acceptedFlags {
		fs.String(name, "", "")
		fs.Lookup(name).NoOptDefVal = "true"
	}
}

// parseConfig reads the flags. Errors are those that etcd's command line gives.
func parseConfig(argv []string) (*Config, error) {
	c, raw := &Config{}, &rawFlags{}
	fs := pflag.NewFlagSet("etcd", pflag.ContinueOnError)
	c.define(fs, raw)
	if err := fs.Parse(argv); err != nil {
		return nil, flagError(err)
	}
	fs.Visit(func(f *pflag.Flag) {
		for _, name := range acceptedFlags {
			if f.Name == name {
				c.unmodelled = append(c.unmodelled, name)
			}
		}
	})
	c.Heartbeat, c.Election = time.Duration(raw.heartbeat)*time.Millisecond, time.Duration(raw.election)*time.Millisecond
	c.ListenPeerURLs, c.ListenClientURLs = splitURLs(raw.peer), splitURLs(raw.client)
	c.ListenMetricsURLs = splitURLs(raw.metrics)
	c.AdvertisePeerURLs, c.AdvertiseClientURLs = splitURLs(raw.advertisePeer), splitURLs(raw.advertiseClient)
	c.NewCluster = raw.state == "new"
	if c.QuotaBytes = raw.quota; raw.quota == 0 {
		c.QuotaBytes = defaultQuota
	}
	if c.DataDir == "" {
		c.DataDir = c.Name + ".etcd"
	}
	if c.InitialCluster == "" {
		var parts []string
		for _, u := range c.AdvertisePeerURLs {
			parts = append(parts, c.Name+"="+u)
		}
		c.InitialCluster = strings.Join(parts, ",")
	}
	if !fs.Changed("advertise-client-urls") && fs.Changed("listen-client-urls") {
		return c, errUnsetAdvertise
	}
	if raw.state != "new" && raw.state != "existing" {
		return c, fmt.Errorf("invalid value %q for flag -initial-cluster-state: allowed values: \"new\",\"existing\"",
			raw.state)
	}
	return c, c.validate()
}

var errUnsetAdvertise = fmt.Errorf("--advertise-client-urls is required when --listen-client-urls is set explicitly")

// flagError words an error as the flag package does that etcd uses.
func flagError(err error) error {
	if name, found := strings.CutPrefix(err.Error(), "unknown flag: --"); found {
		return fmt.Errorf("flag provided but not defined: -%s", name)
	}
	return err
}

func (c *Config) validate() error {
	switch {
	case c.Heartbeat <= 0:
		return fmt.Errorf("--heartbeat-interval must be >0 (set to %dms)", c.Heartbeat.Milliseconds())
	case c.Election <= 0:
		return fmt.Errorf("--election-timeout must be >0 (set to %dms)", c.Election.Milliseconds())
	case 5*c.Heartbeat > c.Election:
		return fmt.Errorf("--election-timeout[%vms] should be at least as 5 times as --heartbeat-interval[%vms]",
			c.Election.Milliseconds(), c.Heartbeat.Milliseconds())
	case c.Election > 50*time.Second:
		return fmt.Errorf("--election-timeout[%vms] is too long, and should be set less than %vms",
			c.Election.Milliseconds(), 50000)
	}
	return nil
}

// Flags returns the names of etcd's flags that are accepted but have no effect here.
func Flags() (notModelled []string) { return append([]string(nil), acceptedFlags...) }

// acceptedFlags are real flags of etcd 3.1 to 3.6 that change nothing here: transport security, logging, profiling,
// proxies and discovery.
var acceptedFlags = strings.Fields(`
auth-token auth-token-ttl auto-tls backend-batch-interval backend-batch-limit backend-bbolt-freelist-type
bcrypt-cost bootstrap-defrag-threshold-megabytes ca-file cert-file cipher-suites client-cert-allowed-hostname
client-cert-auth client-cert-file client-crl-file client-key-file compact-hash-check-time compaction-batch-limit
compaction-sleep-interval config-file corrupt-check-time cors debug discovery discovery-fallback discovery-proxy
discovery-srv discovery-srv-name downgrade-check-time enable-distributed-tracing enable-grpc-gateway
enable-log-rotation enable-pprof enable-v2 experimental-apply-warning-duration
experimental-bootstrap-defrag-threshold-megabytes experimental-compact-hash-check-enabled
experimental-compact-hash-check-time experimental-compaction-batch-limit experimental-compaction-sleep-interval
experimental-corrupt-check-time experimental-distributed-tracing-address experimental-downgrade-check-time
experimental-enable-distributed-tracing experimental-enable-lease-checkpoint
experimental-enable-lease-checkpoint-persist experimental-enable-v2v3 experimental-initial-corrupt-check
experimental-memory-mlock experimental-peer-skip-client-san-verification
experimental-stop-grpc-service-on-defrag experimental-txn-mode-write-with-shared-buffer
experimental-warning-apply-duration experimental-warning-unary-request-duration
experimental-wait-cluster-ready-timeout feature-gates grpc-keepalive-interval grpc-keepalive-min-time
grpc-keepalive-timeout host-whitelist key-file log-format log-level log-outputs log-package-levels
log-rotation-config-json logger max-concurrent-streams max-snapshots max-wals memory-mlock metrics peer-auto-tls
peer-ca-file peer-cert-allowed-cn peer-cert-allowed-hostname peer-cert-file peer-client-cert-auth
peer-client-cert-file peer-client-key-file peer-crl-file peer-key-file peer-skip-client-san-verification
peer-trusted-ca-file proxy proxy-dial-timeout proxy-failure-wait proxy-read-timeout proxy-refresh-interval
proxy-write-timeout raft-read-timeout raft-write-timeout self-signed-cert-validity socket-reuse-address
socket-reuse-port tls-max-version tls-min-version trusted-ca-file v2-deprecation warning-apply-duration
warning-unary-request-duration`)

func splitURLs(list string) []string {
	var urls []string
	for _, u := range strings.Split(list, ",") {
		if u = strings.TrimSpace(u); u != "" {
			urls = append(urls, u)
		}
	}
	return urls
}
