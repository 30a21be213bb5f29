# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_towline_global_optspecs
    string join \n v/verbose q/quiet color= h/help V/version
end

function __fish_towline_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_towline_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_towline_using_subcommand
    set -l cmd (__fish_towline_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c towline -n "__fish_towline_needs_command" -l color -d 'When to use colours; NO_COLOR is respected' -r -f -a "auto\t'On a terminal'
always\t'Everywhere'
never\t'Nowhere'"
complete -c towline -n "__fish_towline_needs_command" -s v -l verbose -d 'Say more on stderr: -v what happens and what peers say, -vv every message and every step of a probe'
complete -c towline -n "__fish_towline_needs_command" -s q -l quiet -d 'Say nothing on stderr but errors; a probe prints no payload either'
complete -c towline -n "__fish_towline_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c towline -n "__fish_towline_needs_command" -s V -l version -d 'Print version'
complete -c towline -n "__fish_towline_needs_command" -f -a "connect" -d 'Join two endpoints once: a pipe, a console, a CI probe'
complete -c towline -n "__fish_towline_needs_command" -f -a "serve" -d 'Join every peer that connects to a target, which is dialled anew for each'
complete -c towline -n "__fish_towline_needs_command" -f -a "proxy" -d 'Pass HTTP and WebSockets on to backends, and balance between them'
complete -c towline -n "__fish_towline_needs_command" -f -a "tunnel" -d 'Forward ports over one SSH session that is kept up'
complete -c towline -n "__fish_towline_needs_command" -f -a "bench" -d 'Measure a server: load by a schedule, latency from when messages were due, a word on whether to believe it'
complete -c towline -n "__fish_towline_needs_command" -f -a "completions" -d 'Print the completion script of a shell'
complete -c towline -n "__fish_towline_needs_command" -f -a "man" -d 'Print a manual page, or write them all into a directory'
complete -c towline -n "__fish_towline_needs_command" -f -a "help" -d 'Print the help of a verb, or about addresses or exit codes'
complete -c towline -n "__fish_towline_using_subcommand connect" -s s -l send -d 'Send a message; ${NAME} in it is what a --capture before it has found, $${NAME} is itself' -r
complete -c towline -n "__fish_towline_using_subcommand connect" -l send-bin -d 'Send a binary message' -r
complete -c towline -n "__fish_towline_using_subcommand connect" -l send-file -d 'Send all of a file as one message: text if it is UTF-8, unless --binary says otherwise' -r -F
complete -c towline -n "__fish_towline_using_subcommand connect" -l ping -d 'Send a Ping' -r
complete -c towline -n "__fish_towline_using_subcommand connect" -l sleep -d 'Wait; what arrives meanwhile is kept for the next --expect' -r
complete -c towline -n "__fish_towline_using_subcommand connect" -s e -l expect -d 'Wait for a message that contains the text, is it (=TEXT) or matches (~REGEX)' -r
complete -c towline -n "__fish_towline_using_subcommand connect" -l expect-json -d 'Wait for a JSON message with these members, or with this value at a pointer' -r
complete -c towline -n "__fish_towline_using_subcommand connect" -l expect-bin -d 'Wait for a message of these bytes, or that contains them' -r
complete -c towline -n "__fish_towline_using_subcommand connect" -l expect-none -d 'Fail if a message arrives within this time' -r
complete -c towline -n "__fish_towline_using_subcommand connect" -l expect-pong -d 'Wait for a Pong' -r
complete -c towline -n "__fish_towline_using_subcommand connect" -l capture -d 'Keep a value of the message just matched, for ${NAME} in later steps' -r
complete -c towline -n "__fish_towline_using_subcommand connect" -l close -d 'Send a Close' -r
complete -c towline -n "__fish_towline_using_subcommand connect" -l expect-close -d 'Wait for a Close with such a code (1000, 1000-1001, 4xxx; 1005 is none, 1006 a lost connection) and reason' -r
complete -c towline -n "__fish_towline_using_subcommand connect" -l within -d 'How long each of the steps after this may wait [default: 5s]' -r
complete -c towline -n "__fish_towline_using_subcommand connect" -l reject -d 'Fail if any message matches, at any time' -r
complete -c towline -n "__fish_towline_using_subcommand connect" -l expect-status -d 'The HTTP status of the handshake must be such (101, 401, 3xx); if it refuses the WebSocket, the run ends well there' -r
complete -c towline -n "__fish_towline_using_subcommand connect" -l expect-header -d 'The answer to the handshake must have this header' -r
complete -c towline -n "__fish_towline_using_subcommand connect" -l expect-no-header -d 'The answer to the handshake must not have this header' -r
complete -c towline -n "__fish_towline_using_subcommand connect" -l expect-subprotocol -d 'This subprotocol must have been granted' -r
complete -c towline -n "__fish_towline_using_subcommand connect" -l expect-extension -d 'This extension must have been granted' -r
complete -c towline -n "__fish_towline_using_subcommand connect" -l expect-tls -d 'The TLS version must be this (1.3), or at least this (>=1.2)' -r
complete -c towline -n "__fish_towline_using_subcommand connect" -l expect-cert-days -d 'The server\'s certificate must be valid for N more days' -r
complete -c towline -n "__fish_towline_using_subcommand connect" -l count -d 'End well as soon as N messages were received' -r
complete -c towline -n "__fish_towline_using_subcommand connect" -l report -d 'Report what was found as one JSON object, in FILE or as a line on stderr' -r -f
complete -c towline -n "__fish_towline_using_subcommand connect" -l junit -d 'Write the outcome of every expectation to FILE, as JUnit XML' -r -F
complete -c towline -n "__fish_towline_using_subcommand connect" -l log -d 'Write every message of both directions to FILE, in the JSON envelope' -r -F
complete -c towline -n "__fish_towline_using_subcommand connect" -l replay -d 'Send the outgoing messages of a recording again, at the times they were sent' -r -F
complete -c towline -n "__fish_towline_using_subcommand connect" -l speed -d 'How many times faster to replay; `max` does not wait at all' -r
complete -c towline -n "__fish_towline_using_subcommand connect" -l timeout -d 'Give up after this time, whatever happens [default: 60s where a probe expects something]' -r
complete -c towline -n "__fish_towline_using_subcommand connect" -l wait-ready -d 'Try to connect for this long, until the first success' -r
complete -c towline -n "__fish_towline_using_subcommand connect" -l max-delay -d 'The longest pause between two attempts; pauses double from 250ms, with full jitter' -r
complete -c towline -n "__fish_towline_using_subcommand connect" -l max-retries -d 'Give up after this many failed attempts in a row' -r
complete -c towline -n "__fish_towline_using_subcommand connect" -l ok-close -d 'Close codes that count as a clean end, besides 1000 (repeat, or separate with commas)' -r
complete -c towline -n "__fish_towline_using_subcommand connect" -l frame -d 'How bytes become messages [default: lines; raw where both ends are byte streams]' -r -f -a "lines\t'One line is one message; the newline is not part of it'
nul\t'A zero byte ends each message'
whole\t'All of the input is one message'
blank\t'An empty line separates messages'
len\t'A 32 bit big-endian length stands before each message'
json\t'One JSON object a line, lossless: types, control messages, names, times'
raw\t'No boundaries: what one read returns is one message, of 64 KiB at the most'"
complete -c towline -n "__fish_towline_using_subcommand connect" -l linger -d 'When the input has ended, go on until nothing was received for this long; `inf` never gives up' -r
complete -c towline -n "__fish_towline_using_subcommand connect" -l idle-timeout -d 'End a join that has been quiet for this long [default: never]' -r
complete -c towline -n "__fish_towline_using_subcommand connect" -l max-message -d 'The largest message in either direction; a larger one is answered with Close 1009' -r
complete -c towline -n "__fish_towline_using_subcommand connect" -l connect-timeout -d 'How long resolving, connecting and all handshakes may take' -r
complete -c towline -n "__fish_towline_using_subcommand connect" -s H -l header -d 'A header of the handshake request, as `Name: value` (repeat)' -r
complete -c towline -n "__fish_towline_using_subcommand connect" -l subprotocol -d 'A subprotocol to offer, or for a listener to grant (repeat, or separate with commas)' -r
complete -c towline -n "__fish_towline_using_subcommand connect" -l origin -d 'The Origin to send' -r
complete -c towline -n "__fish_towline_using_subcommand connect" -l host -d 'The Host to send in place of the address\'s' -r
complete -c towline -n "__fish_towline_using_subcommand connect" -l user -d 'Log in with HTTP basic authentication; `@FILE` reads USER:PASSWORD from a file' -r
complete -c towline -n "__fish_towline_using_subcommand connect" -l bearer -d 'Log in with a bearer token; `@FILE` reads it from a file' -r
complete -c towline -n "__fish_towline_using_subcommand connect" -l cookie -d 'A cookie to send, as `name=value` (repeat)' -r
complete -c towline -n "__fish_towline_using_subcommand connect" -l ping-interval -d 'Send a Ping after this much quiet [default: off in connect, 30s in serve and with --reconnect]' -r
complete -c towline -n "__fish_towline_using_subcommand connect" -l ping-timeout -d 'Take the connection for lost when a Ping has gone unanswered for this long' -r
complete -c towline -n "__fish_towline_using_subcommand connect" -l max-redirects -d 'How many HTTP redirects to follow' -r
complete -c towline -n "__fish_towline_using_subcommand connect" -l ca -d 'Trust the authorities in FILE, PEM, in place of the system\'s (repeat)' -r -F
complete -c towline -n "__fish_towline_using_subcommand connect" -l client-cert -d 'Log in with this certificate chain, PEM' -r -F
complete -c towline -n "__fish_towline_using_subcommand connect" -l client-key -d 'The private key of --client-cert, PEM' -r -F
complete -c towline -n "__fish_towline_using_subcommand connect" -l sni -d 'The server name to ask for and to check' -r
complete -c towline -n "__fish_towline_using_subcommand connect" -l alpn -d 'A protocol to offer by ALPN (repeat, or separate with commas)' -r
complete -c towline -n "__fish_towline_using_subcommand connect" -l pin -d 'Accept only a certificate with this SHA-256 fingerprint, whoever signed it (repeat)' -r
complete -c towline -n "__fish_towline_using_subcommand connect" -s F -l ssh-config -d 'Read this ssh_config in place of ~/.ssh/config and the system\'s; `none` reads none' -r -F
complete -c towline -n "__fish_towline_using_subcommand connect" -s i -l identity -d 'Log in with this private key (repeat) [default: ~/.ssh/id_ed25519, id_ecdsa, id_rsa and the agent\'s]' -r -F
complete -c towline -n "__fish_towline_using_subcommand connect" -s l -l login -d 'The name to log in with where the address has none' -r
complete -c towline -n "__fish_towline_using_subcommand connect" -l passphrase-file -d 'Read the passphrase of private keys from FILE' -r -F
complete -c towline -n "__fish_towline_using_subcommand connect" -l password-file -d 'Read the password to log in with from FILE' -r -F
complete -c towline -n "__fish_towline_using_subcommand connect" -l host-key-policy -d 'What to do about the key of a host [default: ask on a terminal, strict elsewhere]' -r -f -a "ask\t'Ask about a host that is not known'
strict\t'Refuse a host that is not known'
accept-new\t'Learn the key of a host that is not known; refuse one that has changed'
off\t'Accept any key, without a look'"
complete -c towline -n "__fish_towline_using_subcommand connect" -l known-hosts -d 'Look for host keys in FILE in place of the usual files (repeat)' -r -F
complete -c towline -n "__fish_towline_using_subcommand connect" -l ssh-keepalive -d 'Ask a quiet SSH server for a sign of life; three without an answer end the session, 0 never asks [default: 20s]' -r
complete -c towline -n "__fish_towline_using_subcommand connect" -l connections -d 'How many SSH sessions to spread the channels to one host over' -r
complete -c towline -n "__fish_towline_using_subcommand connect" -l nats-creds -d 'Log in with a user\'s credentials: a JWT and a seed, as `nsc` writes them' -r -F
complete -c towline -n "__fish_towline_using_subcommand connect" -l nats-nkey -d 'Log in with an nkey, whose seed is in FILE' -r -F
complete -c towline -n "__fish_towline_using_subcommand connect" -l nats-token-file -d 'Log in with the token in FILE' -r -F
complete -c towline -n "__fish_towline_using_subcommand connect" -l max-children -d 'How many children of exec:, sh: and pty: may run at once' -r
complete -c towline -n "__fish_towline_using_subcommand connect" -l stop-grace -d 'How long a child has to stop after each of: end of input, SIGHUP, SIGTERM; then SIGKILL' -r
complete -c towline -n "__fish_towline_using_subcommand connect" -l max-inflate -d 'Refuse, with 1009, what inflates to more than 64 KiB and more than RATIO times its length' -r
complete -c towline -n "__fish_towline_using_subcommand connect" -l compress -d 'Compress messages where the peer does it too (permessage-deflate): `auto`, `off`, or 1 to 9' -r
complete -c towline -n "__fish_towline_using_subcommand connect" -l color -d 'When to use colours; NO_COLOR is respected' -r -f -a "auto\t'On a terminal'
always\t'Everywhere'
never\t'Nowhere'"
complete -c towline -n "__fish_towline_using_subcommand connect" -l strict -d 'The next message must match, in place of any message that comes in time'
complete -c towline -n "__fish_towline_using_subcommand connect" -l pretty -d 'Indent JSON on the console'
complete -c towline -n "__fish_towline_using_subcommand connect" -l timestamps -d 'Show the time of each message on the console'
complete -c towline -n "__fish_towline_using_subcommand connect" -l show-control -d 'Show pings and pongs on the console'
complete -c towline -n "__fish_towline_using_subcommand connect" -l reconnect -d 'Connect again when the connection is lost; never after an HTTP 4xx or a Close 1008'
complete -c towline -n "__fish_towline_using_subcommand connect" -l text -d 'Send everything as text messages'
complete -c towline -n "__fish_towline_using_subcommand connect" -s b -l binary -d 'Send everything as binary messages'
complete -c towline -n "__fish_towline_using_subcommand connect" -l no-proxy -d 'Ignore HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY'
complete -c towline -n "__fish_towline_using_subcommand connect" -l http2 -d 'Connect over HTTP/2 (RFC 8441), where WebSockets to one place share a connection'
complete -c towline -n "__fish_towline_using_subcommand connect" -s k -l insecure -d 'Accept any certificate'
complete -c towline -n "__fish_towline_using_subcommand connect" -s v -l verbose -d 'Say more on stderr: -v what happens and what peers say, -vv every message and every step of a probe'
complete -c towline -n "__fish_towline_using_subcommand connect" -s q -l quiet -d 'Say nothing on stderr but errors; a probe prints no payload either'
complete -c towline -n "__fish_towline_using_subcommand connect" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c towline -n "__fish_towline_using_subcommand connect" -s V -l version -d 'Print version'
complete -c towline -n "__fish_towline_using_subcommand serve" -l announce -d 'How to say that the listeners are ready' -r -f -a "text\t'`listening on ws://127.0.0.1:8010`'
json\t'`{"event":"listening","address":"ws://127.0.0.1:8010","port":8010}`'"
complete -c towline -n "__fish_towline_using_subcommand serve" -l on-listen -d 'Run a shell command when all listeners are ready; TOWLINE_LISTEN holds their addresses' -r -f -a "(__fish_complete_command)"
complete -c towline -n "__fish_towline_using_subcommand serve" -l max-peers -d 'Peers at once; more wait until one leaves' -r
complete -c towline -n "__fish_towline_using_subcommand serve" -l max-handshakes -d 'Handshakes in flight at once; more wait' -r
complete -c towline -n "__fish_towline_using_subcommand serve" -l handshake-timeout -d 'How long a peer may take for its handshakes' -r
complete -c towline -n "__fish_towline_using_subcommand serve" -l drain -d 'How long to wait for peers to leave after SIGTERM or SIGINT' -r
complete -c towline -n "__fish_towline_using_subcommand serve" -l access-log -d 'Write a line to stderr for every peer that leaves' -r -f -a "text\t'Words'
json\t'One JSON object a line'"
complete -c towline -n "__fish_towline_using_subcommand serve" -l threads -d 'How many threads peers are spread over [default: one for each core but one]' -r
complete -c towline -n "__fish_towline_using_subcommand serve" -l route -d 'Join the WebSockets of one path, and SSH commands of that name, to a target of their own, as `/logs=exec:tail -f x`' -r
complete -c towline -n "__fish_towline_using_subcommand serve" -l static -d 'Serve the files of a directory to plain GETs' -r -f -a "(__fish_complete_directories)"
complete -c towline -n "__fish_towline_using_subcommand serve" -l allow-origin -d 'Accept browsers from this Origin only; `*` is any (repeat) [default: any for echo:, null: and hub:, this host for all other targets]' -r
complete -c towline -n "__fish_towline_using_subcommand serve" -l allow-host -d 'A name that a reverse proxy in front of a loopback listener calls it by; `*` is any (repeat) [default: localhost, IP addresses, the names in the addresses and in --allow-origin]' -r
complete -c towline -n "__fish_towline_using_subcommand serve" -l basic-auth -d 'Ask for one of the USER:PASSWORD lines of FILE (HTTP basic)' -r -F
complete -c towline -n "__fish_towline_using_subcommand serve" -l bearer-auth -d 'Ask for one of the tokens in FILE, one a line (Authorization: Bearer)' -r -F
complete -c towline -n "__fish_towline_using_subcommand serve" -l max-header -d 'The largest request head' -r
complete -c towline -n "__fish_towline_using_subcommand serve" -l reply -d 'Answer every message with TEXT; {} in it is the message (repeat to take turns)' -r
complete -c towline -n "__fish_towline_using_subcommand serve" -l close-after -d 'Close after N messages, as `5:4001:quota`' -r
complete -c towline -n "__fish_towline_using_subcommand serve" -l delay -d 'Wait before each answer' -r
complete -c towline -n "__fish_towline_using_subcommand serve" -l name-from -d 'Where the name of a WebSocket peer comes from, as `header:X-User`, `query:name` or `path`' -r
complete -c towline -n "__fish_towline_using_subcommand serve" -l slow -d 'What happens to a peer that reads too slowly' -r -f -a "drop-oldest\t'It misses the oldest messages; drops are counted and said'
disconnect\t'It is closed with 1013'
block\t'Everybody waits for it'"
complete -c towline -n "__fish_towline_using_subcommand serve" -l queue -d 'How many messages wait for a slow peer' -r
complete -c towline -n "__fish_towline_using_subcommand serve" -l history -d 'Tell those who come later the last N messages that were said to all' -r
complete -c towline -n "__fish_towline_using_subcommand serve" -l cert -d 'The certificate chain, PEM; read again when the file changes (repeat, each with its --key: peers are shown the one for the name they ask for, or else the first)' -r -F
complete -c towline -n "__fish_towline_using_subcommand serve" -l key -d 'The private key of --cert, PEM (repeat, in the order of --cert)' -r -F
complete -c towline -n "__fish_towline_using_subcommand serve" -l client-ca -d 'Ask peers for a certificate of one of these authorities, PEM' -r -F
complete -c towline -n "__fish_towline_using_subcommand serve" -l authorized-keys -d 'Let in the keys of FILE, in the format of sshd\'s authorized_keys; read again when it changes (repeat)' -r -F
complete -c towline -n "__fish_towline_using_subcommand serve" -l authorized-keys-dir -d 'Let each user in with the keys of the file of that name in DIR' -r -f -a "(__fish_complete_directories)"
complete -c towline -n "__fish_towline_using_subcommand serve" -l trusted-user-ca -d 'Let in users with a certificate of one of the authorities in FILE, one public key a line' -r -F
complete -c towline -n "__fish_towline_using_subcommand serve" -l host-key -d 'Show this private key to clients (repeat) [default: one made at the first start, in $XDG_STATE_HOME/towline or ~/.local/state/towline]' -r -F
complete -c towline -n "__fish_towline_using_subcommand serve" -l allow-open -d 'Let clients connect through the server to this place, `*` being any host or port, or to this Unix socket (repeat) [default: nowhere]' -r
complete -c towline -n "__fish_towline_using_subcommand serve" -l allow-listen -d 'Let clients have the server listen here for them, `*` being any host or port and a port alone for loopback, or on this Unix socket (repeat) [default: nowhere]' -r
complete -c towline -n "__fish_towline_using_subcommand serve" -l login-grace -d 'How long a client may take to log in' -r
complete -c towline -n "__fish_towline_using_subcommand serve" -l max-auth-tries -d 'How many keys a client may try' -r
complete -c towline -n "__fish_towline_using_subcommand serve" -l max-startups -d 'How many clients may be logging in at once: of more than START, RATE percent are refused, rising to all at FULL' -r
complete -c towline -n "__fish_towline_using_subcommand serve" -l max-startups-per-source -d 'How many of them may come from one address (IPv6: one /64), not counting those in a WebSocket' -r
complete -c towline -n "__fish_towline_using_subcommand serve" -l max-failures-per-source -d 'How often logins from one address may fail in a row; then it is let in once a second' -r
complete -c towline -n "__fish_towline_using_subcommand serve" -l max-channels -d 'How many channels a client may have open at once' -r
complete -c towline -n "__fish_towline_using_subcommand serve" -l banner -d 'Show the text of FILE to clients before they log in' -r -F
complete -c towline -n "__fish_towline_using_subcommand serve" -l frame -d 'How bytes become messages [default: lines; raw where both ends are byte streams]' -r -f -a "lines\t'One line is one message; the newline is not part of it'
nul\t'A zero byte ends each message'
whole\t'All of the input is one message'
blank\t'An empty line separates messages'
len\t'A 32 bit big-endian length stands before each message'
json\t'One JSON object a line, lossless: types, control messages, names, times'
raw\t'No boundaries: what one read returns is one message, of 64 KiB at the most'"
complete -c towline -n "__fish_towline_using_subcommand serve" -l linger -d 'When the input has ended, go on until nothing was received for this long; `inf` never gives up' -r
complete -c towline -n "__fish_towline_using_subcommand serve" -l idle-timeout -d 'End a join that has been quiet for this long [default: never]' -r
complete -c towline -n "__fish_towline_using_subcommand serve" -l max-message -d 'The largest message in either direction; a larger one is answered with Close 1009' -r
complete -c towline -n "__fish_towline_using_subcommand serve" -l connect-timeout -d 'How long resolving, connecting and all handshakes may take' -r
complete -c towline -n "__fish_towline_using_subcommand serve" -s H -l header -d 'A header of the handshake request, as `Name: value` (repeat)' -r
complete -c towline -n "__fish_towline_using_subcommand serve" -l subprotocol -d 'A subprotocol to offer, or for a listener to grant (repeat, or separate with commas)' -r
complete -c towline -n "__fish_towline_using_subcommand serve" -l origin -d 'The Origin to send' -r
complete -c towline -n "__fish_towline_using_subcommand serve" -l host -d 'The Host to send in place of the address\'s' -r
complete -c towline -n "__fish_towline_using_subcommand serve" -l user -d 'Log in with HTTP basic authentication; `@FILE` reads USER:PASSWORD from a file' -r
complete -c towline -n "__fish_towline_using_subcommand serve" -l bearer -d 'Log in with a bearer token; `@FILE` reads it from a file' -r
complete -c towline -n "__fish_towline_using_subcommand serve" -l cookie -d 'A cookie to send, as `name=value` (repeat)' -r
complete -c towline -n "__fish_towline_using_subcommand serve" -l ping-interval -d 'Send a Ping after this much quiet [default: off in connect, 30s in serve and with --reconnect]' -r
complete -c towline -n "__fish_towline_using_subcommand serve" -l ping-timeout -d 'Take the connection for lost when a Ping has gone unanswered for this long' -r
complete -c towline -n "__fish_towline_using_subcommand serve" -l max-redirects -d 'How many HTTP redirects to follow' -r
complete -c towline -n "__fish_towline_using_subcommand serve" -l ca -d 'Trust the authorities in FILE, PEM, in place of the system\'s (repeat)' -r -F
complete -c towline -n "__fish_towline_using_subcommand serve" -l client-cert -d 'Log in with this certificate chain, PEM' -r -F
complete -c towline -n "__fish_towline_using_subcommand serve" -l client-key -d 'The private key of --client-cert, PEM' -r -F
complete -c towline -n "__fish_towline_using_subcommand serve" -l sni -d 'The server name to ask for and to check' -r
complete -c towline -n "__fish_towline_using_subcommand serve" -l alpn -d 'A protocol to offer by ALPN (repeat, or separate with commas)' -r
complete -c towline -n "__fish_towline_using_subcommand serve" -l pin -d 'Accept only a certificate with this SHA-256 fingerprint, whoever signed it (repeat)' -r
complete -c towline -n "__fish_towline_using_subcommand serve" -s F -l ssh-config -d 'Read this ssh_config in place of ~/.ssh/config and the system\'s; `none` reads none' -r -F
complete -c towline -n "__fish_towline_using_subcommand serve" -s i -l identity -d 'Log in with this private key (repeat) [default: ~/.ssh/id_ed25519, id_ecdsa, id_rsa and the agent\'s]' -r -F
complete -c towline -n "__fish_towline_using_subcommand serve" -s l -l login -d 'The name to log in with where the address has none' -r
complete -c towline -n "__fish_towline_using_subcommand serve" -l passphrase-file -d 'Read the passphrase of private keys from FILE' -r -F
complete -c towline -n "__fish_towline_using_subcommand serve" -l password-file -d 'Read the password to log in with from FILE' -r -F
complete -c towline -n "__fish_towline_using_subcommand serve" -l host-key-policy -d 'What to do about the key of a host [default: ask on a terminal, strict elsewhere]' -r -f -a "ask\t'Ask about a host that is not known'
strict\t'Refuse a host that is not known'
accept-new\t'Learn the key of a host that is not known; refuse one that has changed'
off\t'Accept any key, without a look'"
complete -c towline -n "__fish_towline_using_subcommand serve" -l known-hosts -d 'Look for host keys in FILE in place of the usual files (repeat)' -r -F
complete -c towline -n "__fish_towline_using_subcommand serve" -l ssh-keepalive -d 'Ask a quiet SSH server for a sign of life; three without an answer end the session, 0 never asks [default: 20s]' -r
complete -c towline -n "__fish_towline_using_subcommand serve" -l connections -d 'How many SSH sessions to spread the channels to one host over' -r
complete -c towline -n "__fish_towline_using_subcommand serve" -l nats-creds -d 'Log in with a user\'s credentials: a JWT and a seed, as `nsc` writes them' -r -F
complete -c towline -n "__fish_towline_using_subcommand serve" -l nats-nkey -d 'Log in with an nkey, whose seed is in FILE' -r -F
complete -c towline -n "__fish_towline_using_subcommand serve" -l nats-token-file -d 'Log in with the token in FILE' -r -F
complete -c towline -n "__fish_towline_using_subcommand serve" -l max-children -d 'How many children of exec:, sh: and pty: may run at once' -r
complete -c towline -n "__fish_towline_using_subcommand serve" -l stop-grace -d 'How long a child has to stop after each of: end of input, SIGHUP, SIGTERM; then SIGKILL' -r
complete -c towline -n "__fish_towline_using_subcommand serve" -l compress -d 'Compress messages where the peer does it too (permessage-deflate): `auto`, `off`, or 1 to 9' -r
complete -c towline -n "__fish_towline_using_subcommand serve" -l max-inflate -d 'Refuse, with 1009, what inflates to more than 64 KiB and more than RATIO times its length' -r
complete -c towline -n "__fish_towline_using_subcommand serve" -l color -d 'When to use colours; NO_COLOR is respected' -r -f -a "auto\t'On a terminal'
always\t'Everywhere'
never\t'Nowhere'"
complete -c towline -n "__fish_towline_using_subcommand serve" -l inetd -d 'Serve the one connection that is stdin and stdout, as inetd hands it over, then exit'
complete -c towline -n "__fish_towline_using_subcommand serve" -l reuse-port -d 'Share the port with other processes that do so, too: the system spreads connections over them'
complete -c towline -n "__fish_towline_using_subcommand serve" -l page -d 'Serve a page to try the WebSocket with [default: for echo: on loopback]'
complete -c towline -n "__fish_towline_using_subcommand serve" -l no-page -d 'Serve no such page'
complete -c towline -n "__fish_towline_using_subcommand serve" -l no-status -d 'Do not answer /healthz and /metrics'
complete -c towline -n "__fish_towline_using_subcommand serve" -l tls-self-signed -d 'Make a certificate for this run and print the fingerprint to --pin'
complete -c towline -n "__fish_towline_using_subcommand serve" -l allow-peers -d 'Let clients offer ports to each other under their own names: `ssh -R anna:22:localhost:22 SERVER`, then `ssh -J SERVER anna`'
complete -c towline -n "__fish_towline_using_subcommand serve" -l text -d 'Send everything as text messages'
complete -c towline -n "__fish_towline_using_subcommand serve" -s b -l binary -d 'Send everything as binary messages'
complete -c towline -n "__fish_towline_using_subcommand serve" -l no-proxy -d 'Ignore HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY'
complete -c towline -n "__fish_towline_using_subcommand serve" -l http2 -d 'Connect over HTTP/2 (RFC 8441), where WebSockets to one place share a connection'
complete -c towline -n "__fish_towline_using_subcommand serve" -s k -l insecure -d 'Accept any certificate'
complete -c towline -n "__fish_towline_using_subcommand serve" -s v -l verbose -d 'Say more on stderr: -v what happens and what peers say, -vv every message and every step of a probe'
complete -c towline -n "__fish_towline_using_subcommand serve" -s q -l quiet -d 'Say nothing on stderr but errors; a probe prints no payload either'
complete -c towline -n "__fish_towline_using_subcommand serve" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c towline -n "__fish_towline_using_subcommand serve" -s V -l version -d 'Print version'
complete -c towline -n "__fish_towline_using_subcommand proxy" -l listen -d 'Listen here as well (repeat)' -r
complete -c towline -n "__fish_towline_using_subcommand proxy" -l set-header -d 'Set a header of every request to a backend, as `Name: value`; without a value it is removed (repeat)' -r
complete -c towline -n "__fish_towline_using_subcommand proxy" -l http-timeout -d 'How long a backend may take to begin its answer, and either side to go on with a body' -r
complete -c towline -n "__fish_towline_using_subcommand proxy" -l min-body-rate -d 'Bytes a second that a client has to send of a body, on average over 20s that it is waited for; 0 is any number' -r
complete -c towline -n "__fish_towline_using_subcommand proxy" -l keep-alive -d 'How long a connection without a request is kept, on either side' -r
complete -c towline -n "__fish_towline_using_subcommand proxy" -l max-idle -d 'How many connections without a request are kept to a backend' -r
complete -c towline -n "__fish_towline_using_subcommand proxy" -l max-header -d 'The largest request head' -r
complete -c towline -n "__fish_towline_using_subcommand proxy" -l max-client-message -d 'Close WebSockets whose client sends a larger message than this, with 1009 [default: any size]' -r
complete -c towline -n "__fish_towline_using_subcommand proxy" -l threads -d 'How many threads to use, shared by plain connections and those with TLS where there are both [default: one for each core]' -r
complete -c towline -n "__fish_towline_using_subcommand proxy" -l balance -d 'How the next backend is chosen: `least`, `round-robin`, `random`, `hash:KEY` or `sticky[:COOKIE]`' -r
complete -c towline -n "__fish_towline_using_subcommand proxy" -l retries -d 'To how many other backends a request is offered when one fails; never after the 101' -r
complete -c towline -n "__fish_towline_using_subcommand proxy" -l max-fails -d 'After how many failures in a row a backend is left out; 0 is never' -r
complete -c towline -n "__fish_towline_using_subcommand proxy" -l fail-pause -d 'How long a backend that has failed is left out; twice as long each time, up to a minute, and a little at random' -r
complete -c towline -n "__fish_towline_using_subcommand proxy" -l slow-start -d 'How long a backend that comes back gets only a part of what would be its, which grows until then' -r
complete -c towline -n "__fish_towline_using_subcommand proxy" -l max-per-backend -d 'How many requests and WebSockets a backend may have at once [default: any number]' -r
complete -c towline -n "__fish_towline_using_subcommand proxy" -l queue-timeout -d 'How long a request waits where all backends have --max-per-backend, before it gets a 503' -r
complete -c towline -n "__fish_towline_using_subcommand proxy" -l resolve-interval -d 'How often the name of a backend is looked up; each of its addresses is a backend of its own' -r
complete -c towline -n "__fish_towline_using_subcommand proxy" -l health -d 'Ask backends whether they are there: tcp, http:/PATH, ws:/PATH or ws:/PATH:SEND=EXPECT' -r
complete -c towline -n "__fish_towline_using_subcommand proxy" -l health-interval -d 'The time between two checks' -r
complete -c towline -n "__fish_towline_using_subcommand proxy" -l health-timeout -d 'How long a check may take' -r
complete -c towline -n "__fish_towline_using_subcommand proxy" -l health-rise -d 'How many good checks in a row bring a backend back' -r
complete -c towline -n "__fish_towline_using_subcommand proxy" -l health-fall -d 'How many bad checks in a row take a backend out; the first check of all does it alone' -r
complete -c towline -n "__fish_towline_using_subcommand proxy" -l trust -d 'Believe what proxies in this network say of their clients, as 10.0.0.0/8; `unix` is whoever comes by a Unix socket (repeat, or separate with commas)' -r
complete -c towline -n "__fish_towline_using_subcommand proxy" -l send-proxy -d 'Say who asks in a PROXY header to backends, before TLS: v1 or v2' -r
complete -c towline -n "__fish_towline_using_subcommand proxy" -l allow-origin -d 'Let the pages of this Origin open WebSockets, as `https://example.com`; `*` is any (repeat). Programs, which send none, are let in [default: any, and backends decide]' -r
complete -c towline -n "__fish_towline_using_subcommand proxy" -l max-per-ip -d 'Connections of a client at once, one being an IPv4 address or an IPv6 /64; more get a 429 [default: any number]' -r
complete -c towline -n "__fish_towline_using_subcommand proxy" -l max-rate -d 'Handshakes of WebSockets in a second; more get a 503 with a Retry-After [default: any number]' -r
complete -c towline -n "__fish_towline_using_subcommand proxy" -l max-rate-per-ip -d 'Handshakes of WebSockets of a client in a second; more get a 429 with a Retry-After [default: any number]' -r
complete -c towline -n "__fish_towline_using_subcommand proxy" -l redirect-http -d 'Listen here for plain HTTP, and send everybody to https: (repeat)' -r
complete -c towline -n "__fish_towline_using_subcommand proxy" -l admin -d 'Serve /metrics for Prometheus, /healthz, the state of the /backends, and POST /drain on this address, as 127.0.0.1:9100' -r
complete -c towline -n "__fish_towline_using_subcommand proxy" -l status -d 'When to show the backends live, below what is logged' -r -f -a "auto\t'On a terminal'
always\t'Everywhere'
never\t'Nowhere'"
complete -c towline -n "__fish_towline_using_subcommand proxy" -l route -d 'Send the requests that fit to backends of their own, as `host=a.example path=/chat/* -> ws://b:9000 ws://c:9000*2`; the first route that fits takes a request (repeat)' -r
complete -c towline -n "__fish_towline_using_subcommand proxy" -l backend -d 'A backend of the requests that no route fits, as the addresses after the first are (repeat)' -r
complete -c towline -n "__fish_towline_using_subcommand proxy" -l config -d 'Take flags from FILE (TOML), whose keys are their long names; those of the command line win. Read again when it changes and on SIGHUP, without a connection noticing' -r -F
complete -c towline -n "__fish_towline_using_subcommand proxy" -l announce -d 'How to say that the listeners are ready' -r -f -a "text\t'`listening on ws://127.0.0.1:8010`'
json\t'`{"event":"listening","address":"ws://127.0.0.1:8010","port":8010}`'"
complete -c towline -n "__fish_towline_using_subcommand proxy" -l on-listen -d 'Run a shell command when all listeners are ready; TOWLINE_LISTEN holds their addresses' -r -f -a "(__fish_complete_command)"
complete -c towline -n "__fish_towline_using_subcommand proxy" -l max-peers -d 'Peers at once; more wait until one leaves' -r
complete -c towline -n "__fish_towline_using_subcommand proxy" -l max-handshakes -d 'Handshakes in flight at once; more wait' -r
complete -c towline -n "__fish_towline_using_subcommand proxy" -l handshake-timeout -d 'How long a peer may take for its handshakes' -r
complete -c towline -n "__fish_towline_using_subcommand proxy" -l drain -d 'How long to wait for peers to leave after SIGTERM or SIGINT' -r
complete -c towline -n "__fish_towline_using_subcommand proxy" -l access-log -d 'Write a line to stderr for every peer that leaves' -r -f -a "text\t'Words'
json\t'One JSON object a line'"
complete -c towline -n "__fish_towline_using_subcommand proxy" -l cert -d 'The certificate chain, PEM; read again when the file changes (repeat, each with its --key: peers are shown the one for the name they ask for, or else the first)' -r -F
complete -c towline -n "__fish_towline_using_subcommand proxy" -l key -d 'The private key of --cert, PEM (repeat, in the order of --cert)' -r -F
complete -c towline -n "__fish_towline_using_subcommand proxy" -l client-ca -d 'Ask peers for a certificate of one of these authorities, PEM' -r -F
complete -c towline -n "__fish_towline_using_subcommand proxy" -l frame -d 'How bytes become messages [default: lines; raw where both ends are byte streams]' -r -f -a "lines\t'One line is one message; the newline is not part of it'
nul\t'A zero byte ends each message'
whole\t'All of the input is one message'
blank\t'An empty line separates messages'
len\t'A 32 bit big-endian length stands before each message'
json\t'One JSON object a line, lossless: types, control messages, names, times'
raw\t'No boundaries: what one read returns is one message, of 64 KiB at the most'"
complete -c towline -n "__fish_towline_using_subcommand proxy" -l linger -d 'When the input has ended, go on until nothing was received for this long; `inf` never gives up' -r
complete -c towline -n "__fish_towline_using_subcommand proxy" -l idle-timeout -d 'End a join that has been quiet for this long [default: never]' -r
complete -c towline -n "__fish_towline_using_subcommand proxy" -l max-message -d 'The largest message in either direction; a larger one is answered with Close 1009' -r
complete -c towline -n "__fish_towline_using_subcommand proxy" -l connect-timeout -d 'How long resolving, connecting and all handshakes may take' -r
complete -c towline -n "__fish_towline_using_subcommand proxy" -s H -l header -d 'A header of the handshake request, as `Name: value` (repeat)' -r
complete -c towline -n "__fish_towline_using_subcommand proxy" -l subprotocol -d 'A subprotocol to offer, or for a listener to grant (repeat, or separate with commas)' -r
complete -c towline -n "__fish_towline_using_subcommand proxy" -l origin -d 'The Origin to send' -r
complete -c towline -n "__fish_towline_using_subcommand proxy" -l host -d 'The Host to send in place of the address\'s' -r
complete -c towline -n "__fish_towline_using_subcommand proxy" -l user -d 'Log in with HTTP basic authentication; `@FILE` reads USER:PASSWORD from a file' -r
complete -c towline -n "__fish_towline_using_subcommand proxy" -l bearer -d 'Log in with a bearer token; `@FILE` reads it from a file' -r
complete -c towline -n "__fish_towline_using_subcommand proxy" -l cookie -d 'A cookie to send, as `name=value` (repeat)' -r
complete -c towline -n "__fish_towline_using_subcommand proxy" -l ping-interval -d 'Send a Ping after this much quiet [default: off in connect, 30s in serve and with --reconnect]' -r
complete -c towline -n "__fish_towline_using_subcommand proxy" -l ping-timeout -d 'Take the connection for lost when a Ping has gone unanswered for this long' -r
complete -c towline -n "__fish_towline_using_subcommand proxy" -l max-redirects -d 'How many HTTP redirects to follow' -r
complete -c towline -n "__fish_towline_using_subcommand proxy" -l ca -d 'Trust the authorities in FILE, PEM, in place of the system\'s (repeat)' -r -F
complete -c towline -n "__fish_towline_using_subcommand proxy" -l client-cert -d 'Log in with this certificate chain, PEM' -r -F
complete -c towline -n "__fish_towline_using_subcommand proxy" -l client-key -d 'The private key of --client-cert, PEM' -r -F
complete -c towline -n "__fish_towline_using_subcommand proxy" -l sni -d 'The server name to ask for and to check' -r
complete -c towline -n "__fish_towline_using_subcommand proxy" -l alpn -d 'A protocol to offer by ALPN (repeat, or separate with commas)' -r
complete -c towline -n "__fish_towline_using_subcommand proxy" -l pin -d 'Accept only a certificate with this SHA-256 fingerprint, whoever signed it (repeat)' -r
complete -c towline -n "__fish_towline_using_subcommand proxy" -s F -l ssh-config -d 'Read this ssh_config in place of ~/.ssh/config and the system\'s; `none` reads none' -r -F
complete -c towline -n "__fish_towline_using_subcommand proxy" -s i -l identity -d 'Log in with this private key (repeat) [default: ~/.ssh/id_ed25519, id_ecdsa, id_rsa and the agent\'s]' -r -F
complete -c towline -n "__fish_towline_using_subcommand proxy" -s l -l login -d 'The name to log in with where the address has none' -r
complete -c towline -n "__fish_towline_using_subcommand proxy" -l passphrase-file -d 'Read the passphrase of private keys from FILE' -r -F
complete -c towline -n "__fish_towline_using_subcommand proxy" -l password-file -d 'Read the password to log in with from FILE' -r -F
complete -c towline -n "__fish_towline_using_subcommand proxy" -l host-key-policy -d 'What to do about the key of a host [default: ask on a terminal, strict elsewhere]' -r -f -a "ask\t'Ask about a host that is not known'
strict\t'Refuse a host that is not known'
accept-new\t'Learn the key of a host that is not known; refuse one that has changed'
off\t'Accept any key, without a look'"
complete -c towline -n "__fish_towline_using_subcommand proxy" -l known-hosts -d 'Look for host keys in FILE in place of the usual files (repeat)' -r -F
complete -c towline -n "__fish_towline_using_subcommand proxy" -l ssh-keepalive -d 'Ask a quiet SSH server for a sign of life; three without an answer end the session, 0 never asks [default: 20s]' -r
complete -c towline -n "__fish_towline_using_subcommand proxy" -l connections -d 'How many SSH sessions to spread the channels to one host over' -r
complete -c towline -n "__fish_towline_using_subcommand proxy" -l nats-creds -d 'Log in with a user\'s credentials: a JWT and a seed, as `nsc` writes them' -r -F
complete -c towline -n "__fish_towline_using_subcommand proxy" -l nats-nkey -d 'Log in with an nkey, whose seed is in FILE' -r -F
complete -c towline -n "__fish_towline_using_subcommand proxy" -l nats-token-file -d 'Log in with the token in FILE' -r -F
complete -c towline -n "__fish_towline_using_subcommand proxy" -l max-children -d 'How many children of exec:, sh: and pty: may run at once' -r
complete -c towline -n "__fish_towline_using_subcommand proxy" -l stop-grace -d 'How long a child has to stop after each of: end of input, SIGHUP, SIGTERM; then SIGKILL' -r
complete -c towline -n "__fish_towline_using_subcommand proxy" -l color -d 'When to use colours; NO_COLOR is respected' -r -f -a "auto\t'On a terminal'
always\t'Everywhere'
never\t'Nowhere'"
complete -c towline -n "__fish_towline_using_subcommand proxy" -l rewrite-host -d 'Tell a backend its own address as Host, and not what the client said'
complete -c towline -n "__fish_towline_using_subcommand proxy" -l police -d 'Close WebSockets whose client breaks the rules of frames: no mask, unknown kinds, too long a control frame'
complete -c towline -n "__fish_towline_using_subcommand proxy" -l proxy-protocol -d 'Take a PROXY header (v1 or v2) before all else, which says who asks, from those of --trust if there are any; without one, connections are refused'
complete -c towline -n "__fish_towline_using_subcommand proxy" -l check -d 'Say what is wrong with --config, or that it is fine, and exit'
complete -c towline -n "__fish_towline_using_subcommand proxy" -l inetd -d 'Serve the one connection that is stdin and stdout, as inetd hands it over, then exit'
complete -c towline -n "__fish_towline_using_subcommand proxy" -l reuse-port -d 'Share the port with other processes that do so, too: the system spreads connections over them'
complete -c towline -n "__fish_towline_using_subcommand proxy" -l tls-self-signed -d 'Make a certificate for this run and print the fingerprint to --pin'
complete -c towline -n "__fish_towline_using_subcommand proxy" -l text -d 'Send everything as text messages'
complete -c towline -n "__fish_towline_using_subcommand proxy" -s b -l binary -d 'Send everything as binary messages'
complete -c towline -n "__fish_towline_using_subcommand proxy" -l no-proxy -d 'Ignore HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY'
complete -c towline -n "__fish_towline_using_subcommand proxy" -l http2 -d 'Connect over HTTP/2 (RFC 8441), where WebSockets to one place share a connection'
complete -c towline -n "__fish_towline_using_subcommand proxy" -s k -l insecure -d 'Accept any certificate'
complete -c towline -n "__fish_towline_using_subcommand proxy" -s v -l verbose -d 'Say more on stderr: -v what happens and what peers say, -vv every message and every step of a probe'
complete -c towline -n "__fish_towline_using_subcommand proxy" -s q -l quiet -d 'Say nothing on stderr but errors; a probe prints no payload either'
complete -c towline -n "__fish_towline_using_subcommand proxy" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c towline -n "__fish_towline_using_subcommand proxy" -s V -l version -d 'Print version'
complete -c towline -n "__fish_towline_using_subcommand tunnel" -s L -l local -d 'Listen here, connect from there: `[BIND:]PORT:HOST:HOSTPORT`, with /PATH for a Unix socket on either side (repeat)' -r
complete -c towline -n "__fish_towline_using_subcommand tunnel" -s R -l remote -d 'Listen there, connect from here; a PORT alone is a proxy there, as -D is here (repeat)' -r
complete -c towline -n "__fish_towline_using_subcommand tunnel" -s D -l dynamic -d 'Be a proxy here whose connections are made from there, for SOCKS5, SOCKS4 and HTTP CONNECT: `[BIND:]PORT` or /PATH (repeat)' -r
complete -c towline -n "__fish_towline_using_subcommand tunnel" -s W -l stdio -d 'Join stdin and stdout to HOST:PORT or /PATH there, as a ProxyCommand does' -r
complete -c towline -n "__fish_towline_using_subcommand tunnel" -l socks-auth -d 'Ask the clients of -D and -R PORT for this login; `@FILE` reads it from a file. SOCKS4 clients cannot log in' -r
complete -c towline -n "__fish_towline_using_subcommand tunnel" -l allow -d 'Let these clients go here only, as *.corp.example:443 or 10.0.0.0/8:*, as far as their requests tell (repeat) [default: anywhere but to link-local and cloud metadata addresses]' -r
complete -c towline -n "__fish_towline_using_subcommand tunnel" -s J -l jump -d 'Jump through these SSH servers first, as `[USER@]HOST[:PORT]` (repeat, or separate with commas)' -r
complete -c towline -n "__fish_towline_using_subcommand tunnel" -l queue-timeout -d 'How long a new connection waits for a session that is lost' -r
complete -c towline -n "__fish_towline_using_subcommand tunnel" -l metrics -d 'Serve figures for Prometheus at /metrics, and /healthz, on this address, as 127.0.0.1:9100' -r
complete -c towline -n "__fish_towline_using_subcommand tunnel" -l status -d 'When to show the live status' -r -f -a "auto\t'On a terminal'
always\t'Everywhere'
never\t'Nowhere'"
complete -c towline -n "__fish_towline_using_subcommand tunnel" -l announce -d 'How to say that the listeners are ready' -r -f -a "text\t'`listening on ws://127.0.0.1:8010`'
json\t'`{"event":"listening","address":"ws://127.0.0.1:8010","port":8010}`'"
complete -c towline -n "__fish_towline_using_subcommand tunnel" -l on-listen -d 'Run a shell command when all listeners are ready; TOWLINE_LISTEN holds their addresses' -r -f -a "(__fish_complete_command)"
complete -c towline -n "__fish_towline_using_subcommand tunnel" -l max-peers -d 'Peers at once; more wait until one leaves' -r
complete -c towline -n "__fish_towline_using_subcommand tunnel" -l max-handshakes -d 'Handshakes in flight at once; more wait' -r
complete -c towline -n "__fish_towline_using_subcommand tunnel" -l handshake-timeout -d 'How long a peer may take for its handshakes' -r
complete -c towline -n "__fish_towline_using_subcommand tunnel" -l drain -d 'How long to wait for peers to leave after SIGTERM or SIGINT' -r
complete -c towline -n "__fish_towline_using_subcommand tunnel" -l access-log -d 'Write a line to stderr for every peer that leaves' -r -f -a "text\t'Words'
json\t'One JSON object a line'"
complete -c towline -n "__fish_towline_using_subcommand tunnel" -l frame -d 'How bytes become messages [default: lines; raw where both ends are byte streams]' -r -f -a "lines\t'One line is one message; the newline is not part of it'
nul\t'A zero byte ends each message'
whole\t'All of the input is one message'
blank\t'An empty line separates messages'
len\t'A 32 bit big-endian length stands before each message'
json\t'One JSON object a line, lossless: types, control messages, names, times'
raw\t'No boundaries: what one read returns is one message, of 64 KiB at the most'"
complete -c towline -n "__fish_towline_using_subcommand tunnel" -l linger -d 'When the input has ended, go on until nothing was received for this long; `inf` never gives up' -r
complete -c towline -n "__fish_towline_using_subcommand tunnel" -l idle-timeout -d 'End a join that has been quiet for this long [default: never]' -r
complete -c towline -n "__fish_towline_using_subcommand tunnel" -l max-message -d 'The largest message in either direction; a larger one is answered with Close 1009' -r
complete -c towline -n "__fish_towline_using_subcommand tunnel" -l connect-timeout -d 'How long resolving, connecting and all handshakes may take' -r
complete -c towline -n "__fish_towline_using_subcommand tunnel" -s H -l header -d 'A header of the handshake request, as `Name: value` (repeat)' -r
complete -c towline -n "__fish_towline_using_subcommand tunnel" -l subprotocol -d 'A subprotocol to offer, or for a listener to grant (repeat, or separate with commas)' -r
complete -c towline -n "__fish_towline_using_subcommand tunnel" -l origin -d 'The Origin to send' -r
complete -c towline -n "__fish_towline_using_subcommand tunnel" -l host -d 'The Host to send in place of the address\'s' -r
complete -c towline -n "__fish_towline_using_subcommand tunnel" -l user -d 'Log in with HTTP basic authentication; `@FILE` reads USER:PASSWORD from a file' -r
complete -c towline -n "__fish_towline_using_subcommand tunnel" -l bearer -d 'Log in with a bearer token; `@FILE` reads it from a file' -r
complete -c towline -n "__fish_towline_using_subcommand tunnel" -l cookie -d 'A cookie to send, as `name=value` (repeat)' -r
complete -c towline -n "__fish_towline_using_subcommand tunnel" -l ping-interval -d 'Send a Ping after this much quiet [default: off in connect, 30s in serve and with --reconnect]' -r
complete -c towline -n "__fish_towline_using_subcommand tunnel" -l ping-timeout -d 'Take the connection for lost when a Ping has gone unanswered for this long' -r
complete -c towline -n "__fish_towline_using_subcommand tunnel" -l max-redirects -d 'How many HTTP redirects to follow' -r
complete -c towline -n "__fish_towline_using_subcommand tunnel" -l ca -d 'Trust the authorities in FILE, PEM, in place of the system\'s (repeat)' -r -F
complete -c towline -n "__fish_towline_using_subcommand tunnel" -l client-cert -d 'Log in with this certificate chain, PEM' -r -F
complete -c towline -n "__fish_towline_using_subcommand tunnel" -l client-key -d 'The private key of --client-cert, PEM' -r -F
complete -c towline -n "__fish_towline_using_subcommand tunnel" -l sni -d 'The server name to ask for and to check' -r
complete -c towline -n "__fish_towline_using_subcommand tunnel" -l alpn -d 'A protocol to offer by ALPN (repeat, or separate with commas)' -r
complete -c towline -n "__fish_towline_using_subcommand tunnel" -l pin -d 'Accept only a certificate with this SHA-256 fingerprint, whoever signed it (repeat)' -r
complete -c towline -n "__fish_towline_using_subcommand tunnel" -s F -l ssh-config -d 'Read this ssh_config in place of ~/.ssh/config and the system\'s; `none` reads none' -r -F
complete -c towline -n "__fish_towline_using_subcommand tunnel" -s i -l identity -d 'Log in with this private key (repeat) [default: ~/.ssh/id_ed25519, id_ecdsa, id_rsa and the agent\'s]' -r -F
complete -c towline -n "__fish_towline_using_subcommand tunnel" -s l -l login -d 'The name to log in with where the address has none' -r
complete -c towline -n "__fish_towline_using_subcommand tunnel" -l passphrase-file -d 'Read the passphrase of private keys from FILE' -r -F
complete -c towline -n "__fish_towline_using_subcommand tunnel" -l password-file -d 'Read the password to log in with from FILE' -r -F
complete -c towline -n "__fish_towline_using_subcommand tunnel" -l host-key-policy -d 'What to do about the key of a host [default: ask on a terminal, strict elsewhere]' -r -f -a "ask\t'Ask about a host that is not known'
strict\t'Refuse a host that is not known'
accept-new\t'Learn the key of a host that is not known; refuse one that has changed'
off\t'Accept any key, without a look'"
complete -c towline -n "__fish_towline_using_subcommand tunnel" -l known-hosts -d 'Look for host keys in FILE in place of the usual files (repeat)' -r -F
complete -c towline -n "__fish_towline_using_subcommand tunnel" -l ssh-keepalive -d 'Ask a quiet SSH server for a sign of life; three without an answer end the session, 0 never asks [default: 20s]' -r
complete -c towline -n "__fish_towline_using_subcommand tunnel" -l connections -d 'How many SSH sessions to spread the channels to one host over' -r
complete -c towline -n "__fish_towline_using_subcommand tunnel" -l nats-creds -d 'Log in with a user\'s credentials: a JWT and a seed, as `nsc` writes them' -r -F
complete -c towline -n "__fish_towline_using_subcommand tunnel" -l nats-nkey -d 'Log in with an nkey, whose seed is in FILE' -r -F
complete -c towline -n "__fish_towline_using_subcommand tunnel" -l nats-token-file -d 'Log in with the token in FILE' -r -F
complete -c towline -n "__fish_towline_using_subcommand tunnel" -l max-children -d 'How many children of exec:, sh: and pty: may run at once' -r
complete -c towline -n "__fish_towline_using_subcommand tunnel" -l stop-grace -d 'How long a child has to stop after each of: end of input, SIGHUP, SIGTERM; then SIGKILL' -r
complete -c towline -n "__fish_towline_using_subcommand tunnel" -l color -d 'When to use colours; NO_COLOR is respected' -r -f -a "auto\t'On a terminal'
always\t'Everywhere'
never\t'Nowhere'"
complete -c towline -n "__fish_towline_using_subcommand tunnel" -l keep-going -d 'Serve the forwards that can be served, even if others cannot'
complete -c towline -n "__fish_towline_using_subcommand tunnel" -l exit-on-forward-failure -d 'Exit if a forward cannot be served, as ExitOnForwardFailure has it; this is the default'
complete -c towline -n "__fish_towline_using_subcommand tunnel" -l inetd -d 'Serve the one connection that is stdin and stdout, as inetd hands it over, then exit'
complete -c towline -n "__fish_towline_using_subcommand tunnel" -l reuse-port -d 'Share the port with other processes that do so, too: the system spreads connections over them'
complete -c towline -n "__fish_towline_using_subcommand tunnel" -l text -d 'Send everything as text messages'
complete -c towline -n "__fish_towline_using_subcommand tunnel" -s b -l binary -d 'Send everything as binary messages'
complete -c towline -n "__fish_towline_using_subcommand tunnel" -l no-proxy -d 'Ignore HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY'
complete -c towline -n "__fish_towline_using_subcommand tunnel" -l http2 -d 'Connect over HTTP/2 (RFC 8441), where WebSockets to one place share a connection'
complete -c towline -n "__fish_towline_using_subcommand tunnel" -s k -l insecure -d 'Accept any certificate'
complete -c towline -n "__fish_towline_using_subcommand tunnel" -s v -l verbose -d 'Say more on stderr: -v what happens and what peers say, -vv every message and every step of a probe'
complete -c towline -n "__fish_towline_using_subcommand tunnel" -s q -l quiet -d 'Say nothing on stderr but errors; a probe prints no payload either'
complete -c towline -n "__fish_towline_using_subcommand tunnel" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c towline -n "__fish_towline_using_subcommand tunnel" -s V -l version -d 'Print version'
complete -c towline -n "__fish_towline_using_subcommand bench; and not __fish_seen_subcommand_from compare merge" -l target -d 'Measure this server as well, `ADDRESS*3` with three times the connections (repeat)' -r
complete -c towline -n "__fish_towline_using_subcommand bench; and not __fish_seen_subcommand_from compare merge" -l workload -d 'What kind of work to measure' -r -f -a "echo\t'Every message gets an answer: an echo, or request and reply'
fan-out\t'What publishers send comes to all other connections'
receive\t'Connections receive, and nothing is sent'
connect\t'Connections are opened and closed, and nothing is sent'
idle\t'Connections are held and pinged'
bulk\t'As many bytes as will go through'"
complete -c towline -n "__fish_towline_using_subcommand bench; and not __fish_seen_subcommand_from compare merge" -l rate -d 'Messages a second, over all connections, by a schedule that answers do not change (an open loop); `5k` is 5000. `N/conn` is for each connection [default: 1000, unless --in-flight is given]' -r
complete -c towline -n "__fish_towline_using_subcommand bench; and not __fish_seen_subcommand_from compare merge" -l arrival -d 'How messages are spaced' -r -f -a "constant\t'All gaps are equal'
poisson\t'As from many who do not know of each other'"
complete -c towline -n "__fish_towline_using_subcommand bench; and not __fish_seen_subcommand_from compare merge" -l in-flight -d 'Send a message as soon as fewer than N of a connection wait for their answers, in place of a schedule (a closed loop): its times are no response times under load' -r
complete -c towline -n "__fish_towline_using_subcommand bench; and not __fish_seen_subcommand_from compare merge" -s c -l connections -d 'How many connections to open' -r
complete -c towline -n "__fish_towline_using_subcommand bench; and not __fish_seen_subcommand_from compare merge" -l publishers -d 'How many connections publish, besides those that receive, in --workload fan-out' -r
complete -c towline -n "__fish_towline_using_subcommand bench; and not __fish_seen_subcommand_from compare merge" -l ramp -d 'How many connections to open in a second' -r
complete -c towline -n "__fish_towline_using_subcommand bench; and not __fish_seen_subcommand_from compare merge" -l warm-up -d 'The time that is left out at the start of what is measured' -r
complete -c towline -n "__fish_towline_using_subcommand bench; and not __fish_seen_subcommand_from compare merge" -s d -l duration -d 'The time that is measured' -r
complete -c towline -n "__fish_towline_using_subcommand bench; and not __fish_seen_subcommand_from compare merge" -s n -l messages -d 'End when N messages were sent that are measured' -r
complete -c towline -n "__fish_towline_using_subcommand bench; and not __fish_seen_subcommand_from compare merge" -l drain -d 'How long to wait for the answers to the last messages' -r
complete -c towline -n "__fish_towline_using_subcommand bench; and not __fish_seen_subcommand_from compare merge" -l steps -d 'Measure these rates one after the other, each for --duration' -r
complete -c towline -n "__fish_towline_using_subcommand bench; and not __fish_seen_subcommand_from compare merge" -l slo -d 'What has to hold at the rate that --find-max looks for, as `p99<50ms`; see --gate (repeat)' -r
complete -c towline -n "__fish_towline_using_subcommand bench; and not __fish_seen_subcommand_from compare merge" -l max-backlog -d 'How many messages of a connection may wait to be sent, or to be answered; more are dropped, and counted' -r
complete -c towline -n "__fish_towline_using_subcommand bench; and not __fish_seen_subcommand_from compare merge" -l late -d 'An answer that takes longer is late: counted apart, and in no percentile' -r
complete -c towline -n "__fish_towline_using_subcommand bench; and not __fish_seen_subcommand_from compare merge" -l size -d 'How long messages are: `128`, a range `16-4KiB`, or several with weights `128*9,4KiB`' -r
complete -c towline -n "__fish_towline_using_subcommand bench; and not __fish_seen_subcommand_from compare merge" -l payload -d 'Send this text, with {seq}, {conn}, {now}, {rand:N} and {stamp} filled in' -r
complete -c towline -n "__fish_towline_using_subcommand bench; and not __fish_seen_subcommand_from compare merge" -l payload-file -d 'Send the lines of FILE in turn' -r -F
complete -c towline -n "__fish_towline_using_subcommand bench; and not __fish_seen_subcommand_from compare merge" -l replay -d 'Send what was sent in a recording of `connect --log`, in turn' -r -F
complete -c towline -n "__fish_towline_using_subcommand bench; and not __fish_seen_subcommand_from compare merge" -l match -d 'How answers are known: by their `stamp`, by the `order`, or `json:/POINTER` to the {seq} [default: stamp where messages have one]' -r
complete -c towline -n "__fish_towline_using_subcommand bench; and not __fish_seen_subcommand_from compare merge" -l max-message -d 'The largest message to take' -r
complete -c towline -n "__fish_towline_using_subcommand bench; and not __fish_seen_subcommand_from compare merge" -l threads -d 'How many threads send and receive [default: one a core]' -r
complete -c towline -n "__fish_towline_using_subcommand bench; and not __fish_seen_subcommand_from compare merge" -l local-addr -d 'Connect from these addresses of this machine in turn, as `127.0.0.1-127.0.0.20` (repeat, or separate with commas)' -r
complete -c towline -n "__fish_towline_using_subcommand bench; and not __fish_seen_subcommand_from compare merge" -l segment -d 'Do the I-th of N parts of the load, which run elsewhere at the same time: `2/4`; see `bench merge`' -r
complete -c towline -n "__fish_towline_using_subcommand bench; and not __fish_seen_subcommand_from compare merge" -l start-at -d 'Begin at this time, as 2026-11-25T12:00:00Z' -r
complete -c towline -n "__fish_towline_using_subcommand bench; and not __fish_seen_subcommand_from compare merge" -l json -d 'Print the report as JSON; with =FILE, write it there and print text all the same' -r -F
complete -c towline -n "__fish_towline_using_subcommand bench; and not __fish_seen_subcommand_from compare merge" -l csv -d 'Write the seconds of the run to FILE, as comma-separated values' -r -F
complete -c towline -n "__fish_towline_using_subcommand bench; and not __fish_seen_subcommand_from compare merge" -l hdr-log -d 'Write the histograms of every second to FILE, as an HdrHistogram log (V2, tagged, in µs)' -r -F
complete -c towline -n "__fish_towline_using_subcommand bench; and not __fish_seen_subcommand_from compare merge" -l html -d 'Write a page with charts to FILE; it needs no network' -r -F
complete -c towline -n "__fish_towline_using_subcommand bench; and not __fish_seen_subcommand_from compare merge" -l gate -d 'Exit with 3 unless this holds, as `p99<50ms`, `errors<0.1%`, `rate>=99%`, `lost=0`; see towline-bench(1) (repeat)' -r
complete -c towline -n "__fish_towline_using_subcommand bench; and not __fish_seen_subcommand_from compare merge" -l baseline -d 'Compare with the report in FILE, which --json has written' -r -F
complete -c towline -n "__fish_towline_using_subcommand bench; and not __fish_seen_subcommand_from compare merge" -l fail-on-regression -d 'Exit with 3 if a time or the rate is worse than in --baseline by more than PERCENT, and that is no noise' -r
complete -c towline -n "__fish_towline_using_subcommand bench; and not __fish_seen_subcommand_from compare merge" -l progress -d 'How to show progress, on stderr' -r -f -a "auto\t'A bar on a terminal, lines elsewhere'
bar\t'A bar, and live figures'
lines\t'A line now and then'
json\t'A JSON object a line'
none\t'Nothing'"
complete -c towline -n "__fish_towline_using_subcommand bench; and not __fish_seen_subcommand_from compare merge" -l progress-interval -d 'The time between two lines of progress' -r
complete -c towline -n "__fish_towline_using_subcommand bench; and not __fish_seen_subcommand_from compare merge" -l connect-timeout -d 'How long resolving, connecting and all handshakes may take' -r
complete -c towline -n "__fish_towline_using_subcommand bench; and not __fish_seen_subcommand_from compare merge" -s H -l header -d 'A header of the handshake request, as `Name: value` (repeat)' -r
complete -c towline -n "__fish_towline_using_subcommand bench; and not __fish_seen_subcommand_from compare merge" -l subprotocol -d 'A subprotocol to offer, or for a listener to grant (repeat, or separate with commas)' -r
complete -c towline -n "__fish_towline_using_subcommand bench; and not __fish_seen_subcommand_from compare merge" -l origin -d 'The Origin to send' -r
complete -c towline -n "__fish_towline_using_subcommand bench; and not __fish_seen_subcommand_from compare merge" -l host -d 'The Host to send in place of the address\'s' -r
complete -c towline -n "__fish_towline_using_subcommand bench; and not __fish_seen_subcommand_from compare merge" -l user -d 'Log in with HTTP basic authentication; `@FILE` reads USER:PASSWORD from a file' -r
complete -c towline -n "__fish_towline_using_subcommand bench; and not __fish_seen_subcommand_from compare merge" -l bearer -d 'Log in with a bearer token; `@FILE` reads it from a file' -r
complete -c towline -n "__fish_towline_using_subcommand bench; and not __fish_seen_subcommand_from compare merge" -l cookie -d 'A cookie to send, as `name=value` (repeat)' -r
complete -c towline -n "__fish_towline_using_subcommand bench; and not __fish_seen_subcommand_from compare merge" -l ping-interval -d 'Send a Ping after this much quiet [default: off in connect, 30s in serve and with --reconnect]' -r
complete -c towline -n "__fish_towline_using_subcommand bench; and not __fish_seen_subcommand_from compare merge" -l ping-timeout -d 'Take the connection for lost when a Ping has gone unanswered for this long' -r
complete -c towline -n "__fish_towline_using_subcommand bench; and not __fish_seen_subcommand_from compare merge" -l max-redirects -d 'How many HTTP redirects to follow' -r
complete -c towline -n "__fish_towline_using_subcommand bench; and not __fish_seen_subcommand_from compare merge" -l ca -d 'Trust the authorities in FILE, PEM, in place of the system\'s (repeat)' -r -F
complete -c towline -n "__fish_towline_using_subcommand bench; and not __fish_seen_subcommand_from compare merge" -l client-cert -d 'Log in with this certificate chain, PEM' -r -F
complete -c towline -n "__fish_towline_using_subcommand bench; and not __fish_seen_subcommand_from compare merge" -l client-key -d 'The private key of --client-cert, PEM' -r -F
complete -c towline -n "__fish_towline_using_subcommand bench; and not __fish_seen_subcommand_from compare merge" -l sni -d 'The server name to ask for and to check' -r
complete -c towline -n "__fish_towline_using_subcommand bench; and not __fish_seen_subcommand_from compare merge" -l alpn -d 'A protocol to offer by ALPN (repeat, or separate with commas)' -r
complete -c towline -n "__fish_towline_using_subcommand bench; and not __fish_seen_subcommand_from compare merge" -l pin -d 'Accept only a certificate with this SHA-256 fingerprint, whoever signed it (repeat)' -r
complete -c towline -n "__fish_towline_using_subcommand bench; and not __fish_seen_subcommand_from compare merge" -s F -l ssh-config -d 'Read this ssh_config in place of ~/.ssh/config and the system\'s; `none` reads none' -r -F
complete -c towline -n "__fish_towline_using_subcommand bench; and not __fish_seen_subcommand_from compare merge" -s i -l identity -d 'Log in with this private key (repeat) [default: ~/.ssh/id_ed25519, id_ecdsa, id_rsa and the agent\'s]' -r -F
complete -c towline -n "__fish_towline_using_subcommand bench; and not __fish_seen_subcommand_from compare merge" -s l -l login -d 'The name to log in with where the address has none' -r
complete -c towline -n "__fish_towline_using_subcommand bench; and not __fish_seen_subcommand_from compare merge" -l passphrase-file -d 'Read the passphrase of private keys from FILE' -r -F
complete -c towline -n "__fish_towline_using_subcommand bench; and not __fish_seen_subcommand_from compare merge" -l password-file -d 'Read the password to log in with from FILE' -r -F
complete -c towline -n "__fish_towline_using_subcommand bench; and not __fish_seen_subcommand_from compare merge" -l host-key-policy -d 'What to do about the key of a host [default: ask on a terminal, strict elsewhere]' -r -f -a "ask\t'Ask about a host that is not known'
strict\t'Refuse a host that is not known'
accept-new\t'Learn the key of a host that is not known; refuse one that has changed'
off\t'Accept any key, without a look'"
complete -c towline -n "__fish_towline_using_subcommand bench; and not __fish_seen_subcommand_from compare merge" -l known-hosts -d 'Look for host keys in FILE in place of the usual files (repeat)' -r -F
complete -c towline -n "__fish_towline_using_subcommand bench; and not __fish_seen_subcommand_from compare merge" -l ssh-keepalive -d 'Ask a quiet SSH server for a sign of life; three without an answer end the session, 0 never asks [default: 20s]' -r
complete -c towline -n "__fish_towline_using_subcommand bench; and not __fish_seen_subcommand_from compare merge" -l max-children -d 'How many children of exec:, sh: and pty: may run at once' -r
complete -c towline -n "__fish_towline_using_subcommand bench; and not __fish_seen_subcommand_from compare merge" -l stop-grace -d 'How long a child has to stop after each of: end of input, SIGHUP, SIGTERM; then SIGKILL' -r
complete -c towline -n "__fish_towline_using_subcommand bench; and not __fish_seen_subcommand_from compare merge" -l compress -d 'Compress messages where the peer does it too (permessage-deflate): `auto`, `off`, or 1 to 9' -r
complete -c towline -n "__fish_towline_using_subcommand bench; and not __fish_seen_subcommand_from compare merge" -l max-inflate -d 'Refuse, with 1009, what inflates to more than 64 KiB and more than RATIO times its length' -r
complete -c towline -n "__fish_towline_using_subcommand bench; and not __fish_seen_subcommand_from compare merge" -l color -d 'When to use colours; NO_COLOR is respected' -r -f -a "auto\t'On a terminal'
always\t'Everywhere'
never\t'Nowhere'"
complete -c towline -n "__fish_towline_using_subcommand bench; and not __fish_seen_subcommand_from compare merge" -l soak -d 'Hold idle connections and ping them, as --workload idle'
complete -c towline -n "__fish_towline_using_subcommand bench; and not __fish_seen_subcommand_from compare merge" -l find-max -d 'Search the highest rate at which every --slo holds: double from --rate on, then halve the gap'
complete -c towline -n "__fish_towline_using_subcommand bench; and not __fish_seen_subcommand_from compare merge" -l reconnect -d 'Open a connection again when it is lost'
complete -c towline -n "__fish_towline_using_subcommand bench; and not __fish_seen_subcommand_from compare merge" -l text -d 'Send text messages'
complete -c towline -n "__fish_towline_using_subcommand bench; and not __fish_seen_subcommand_from compare merge" -s b -l binary -d 'Send binary messages [default, but for --payload and --payload-file]'
complete -c towline -n "__fish_towline_using_subcommand bench; and not __fish_seen_subcommand_from compare merge" -l lines -d 'Where the server speaks bytes: messages end with a newline, and so do answers [default: an answer is as long as its message]'
complete -c towline -n "__fish_towline_using_subcommand bench; and not __fish_seen_subcommand_from compare merge" -l verify -d 'Compare each answer with what was sent'
complete -c towline -n "__fish_towline_using_subcommand bench; and not __fish_seen_subcommand_from compare merge" -l allow-limited -d 'Exit with 0 even if this machine was the limit, and not the server; the report says so all the same'
complete -c towline -n "__fish_towline_using_subcommand bench; and not __fish_seen_subcommand_from compare merge" -l no-proxy -d 'Ignore HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY'
complete -c towline -n "__fish_towline_using_subcommand bench; and not __fish_seen_subcommand_from compare merge" -l http2 -d 'Connect over HTTP/2 (RFC 8441), where WebSockets to one place share a connection'
complete -c towline -n "__fish_towline_using_subcommand bench; and not __fish_seen_subcommand_from compare merge" -s k -l insecure -d 'Accept any certificate'
complete -c towline -n "__fish_towline_using_subcommand bench; and not __fish_seen_subcommand_from compare merge" -s v -l verbose -d 'Say more on stderr: -v what happens and what peers say, -vv every message and every step of a probe'
complete -c towline -n "__fish_towline_using_subcommand bench; and not __fish_seen_subcommand_from compare merge" -s q -l quiet -d 'Say nothing on stderr but errors; a probe prints no payload either'
complete -c towline -n "__fish_towline_using_subcommand bench; and not __fish_seen_subcommand_from compare merge" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c towline -n "__fish_towline_using_subcommand bench; and not __fish_seen_subcommand_from compare merge" -s V -l version -d 'Print version'
complete -c towline -n "__fish_towline_using_subcommand bench; and not __fish_seen_subcommand_from compare merge" -a "compare" -d 'Compare two reports, and tell changes from noise'
complete -c towline -n "__fish_towline_using_subcommand bench; and not __fish_seen_subcommand_from compare merge" -a "merge" -d 'Make one report of those of all segments'
complete -c towline -n "__fish_towline_using_subcommand bench; and __fish_seen_subcommand_from compare" -l json -d 'Print the comparison as JSON; with =FILE, write it there and print text all the same' -r -F
complete -c towline -n "__fish_towline_using_subcommand bench; and __fish_seen_subcommand_from compare" -l html -d 'Write a page with charts of both to FILE; it needs no network' -r -F
complete -c towline -n "__fish_towline_using_subcommand bench; and __fish_seen_subcommand_from compare" -l fail-on-regression -d 'Exit with 3 if a time or the rate is worse by more than PERCENT, and that is no noise' -r
complete -c towline -n "__fish_towline_using_subcommand bench; and __fish_seen_subcommand_from compare" -l color -d 'When to use colours; NO_COLOR is respected' -r -f -a "auto\t'On a terminal'
always\t'Everywhere'
never\t'Nowhere'"
complete -c towline -n "__fish_towline_using_subcommand bench; and __fish_seen_subcommand_from compare" -s v -l verbose -d 'Say more on stderr: -v what happens and what peers say, -vv every message and every step of a probe'
complete -c towline -n "__fish_towline_using_subcommand bench; and __fish_seen_subcommand_from compare" -s q -l quiet -d 'Say nothing on stderr but errors; a probe prints no payload either'
complete -c towline -n "__fish_towline_using_subcommand bench; and __fish_seen_subcommand_from compare" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c towline -n "__fish_towline_using_subcommand bench; and __fish_seen_subcommand_from compare" -s V -l version -d 'Print version'
complete -c towline -n "__fish_towline_using_subcommand bench; and __fish_seen_subcommand_from merge" -l json -d 'Print the report as JSON; with =FILE, write it there and print text all the same' -r -F
complete -c towline -n "__fish_towline_using_subcommand bench; and __fish_seen_subcommand_from merge" -l csv -d 'Write the seconds of the run to FILE, as comma-separated values' -r -F
complete -c towline -n "__fish_towline_using_subcommand bench; and __fish_seen_subcommand_from merge" -l hdr-log -d 'Write the histograms of every second to FILE, as an HdrHistogram log (V2, tagged, in µs)' -r -F
complete -c towline -n "__fish_towline_using_subcommand bench; and __fish_seen_subcommand_from merge" -l html -d 'Write a page with charts to FILE; it needs no network' -r -F
complete -c towline -n "__fish_towline_using_subcommand bench; and __fish_seen_subcommand_from merge" -l gate -d 'Exit with 3 unless this holds, as `p99<50ms`, `errors<0.1%`, `rate>=99%`, `lost=0`; see towline-bench(1) (repeat)' -r
complete -c towline -n "__fish_towline_using_subcommand bench; and __fish_seen_subcommand_from merge" -l baseline -d 'Compare with the report in FILE, which --json has written' -r -F
complete -c towline -n "__fish_towline_using_subcommand bench; and __fish_seen_subcommand_from merge" -l fail-on-regression -d 'Exit with 3 if a time or the rate is worse than in --baseline by more than PERCENT, and that is no noise' -r
complete -c towline -n "__fish_towline_using_subcommand bench; and __fish_seen_subcommand_from merge" -l color -d 'When to use colours; NO_COLOR is respected' -r -f -a "auto\t'On a terminal'
always\t'Everywhere'
never\t'Nowhere'"
complete -c towline -n "__fish_towline_using_subcommand bench; and __fish_seen_subcommand_from merge" -l allow-limited -d 'Exit with 0 even if a machine was the limit, and not the server; the report says so all the same'
complete -c towline -n "__fish_towline_using_subcommand bench; and __fish_seen_subcommand_from merge" -s v -l verbose -d 'Say more on stderr: -v what happens and what peers say, -vv every message and every step of a probe'
complete -c towline -n "__fish_towline_using_subcommand bench; and __fish_seen_subcommand_from merge" -s q -l quiet -d 'Say nothing on stderr but errors; a probe prints no payload either'
complete -c towline -n "__fish_towline_using_subcommand bench; and __fish_seen_subcommand_from merge" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c towline -n "__fish_towline_using_subcommand bench; and __fish_seen_subcommand_from merge" -s V -l version -d 'Print version'
complete -c towline -n "__fish_towline_using_subcommand completions" -l color -d 'When to use colours; NO_COLOR is respected' -r -f -a "auto\t'On a terminal'
always\t'Everywhere'
never\t'Nowhere'"
complete -c towline -n "__fish_towline_using_subcommand completions" -s v -l verbose -d 'Say more on stderr: -v what happens and what peers say, -vv every message and every step of a probe'
complete -c towline -n "__fish_towline_using_subcommand completions" -s q -l quiet -d 'Say nothing on stderr but errors; a probe prints no payload either'
complete -c towline -n "__fish_towline_using_subcommand completions" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c towline -n "__fish_towline_using_subcommand completions" -s V -l version -d 'Print version'
complete -c towline -n "__fish_towline_using_subcommand man" -l dir -d 'Write every page into this directory' -r -f -a "(__fish_complete_directories)"
complete -c towline -n "__fish_towline_using_subcommand man" -l color -d 'When to use colours; NO_COLOR is respected' -r -f -a "auto\t'On a terminal'
always\t'Everywhere'
never\t'Nowhere'"
complete -c towline -n "__fish_towline_using_subcommand man" -s v -l verbose -d 'Say more on stderr: -v what happens and what peers say, -vv every message and every step of a probe'
complete -c towline -n "__fish_towline_using_subcommand man" -s q -l quiet -d 'Say nothing on stderr but errors; a probe prints no payload either'
complete -c towline -n "__fish_towline_using_subcommand man" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c towline -n "__fish_towline_using_subcommand man" -s V -l version -d 'Print version'
complete -c towline -n "__fish_towline_using_subcommand help" -l color -d 'When to use colours; NO_COLOR is respected' -r -f -a "auto\t'On a terminal'
always\t'Everywhere'
never\t'Nowhere'"
complete -c towline -n "__fish_towline_using_subcommand help" -s v -l verbose -d 'Say more on stderr: -v what happens and what peers say, -vv every message and every step of a probe'
complete -c towline -n "__fish_towline_using_subcommand help" -s q -l quiet -d 'Say nothing on stderr but errors; a probe prints no payload either'
complete -c towline -n "__fish_towline_using_subcommand help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c towline -n "__fish_towline_using_subcommand help" -s V -l version -d 'Print version'
