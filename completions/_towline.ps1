
using namespace System.Management.Automation
using namespace System.Management.Automation.Language

Register-ArgumentCompleter -Native -CommandName 'towline' -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)

    $commandElements = $commandAst.CommandElements
    $command = @(
        'towline'
        for ($i = 1; $i -lt $commandElements.Count; $i++) {
            $element = $commandElements[$i]
            if ($element -isnot [StringConstantExpressionAst] -or
                $element.StringConstantType -ne [StringConstantType]::BareWord -or
                $element.Value.StartsWith('-') -or
                $element.Value -eq $wordToComplete) {
                break
        }
        $element.Value
    }) -join ';'

    $completions = @(switch ($command) {
        'towline' {
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colours; NO_COLOR is respected')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more on stderr: -v what happens, -vv every message')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more on stderr: -v what happens, -vv every message')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say nothing on stderr but errors; in `connect`, print no payload either')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing on stderr but errors; in `connect`, print no payload either')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('connect', 'connect', [CompletionResultType]::ParameterValue, 'Join two endpoints once: a pipe, a console, a CI probe')
            [CompletionResult]::new('serve', 'serve', [CompletionResultType]::ParameterValue, 'Join every peer that connects to a target, which is dialled anew for each')
            [CompletionResult]::new('completions', 'completions', [CompletionResultType]::ParameterValue, 'Print the completion script of a shell')
            [CompletionResult]::new('man', 'man', [CompletionResultType]::ParameterValue, 'Print a manual page, or write them all into a directory')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print the help of a verb, or about addresses or exit codes')
            break
        }
        'towline;connect' {
            [CompletionResult]::new('--log', '--log', [CompletionResultType]::ParameterName, 'Write every message of both directions to FILE, in the JSON envelope')
            [CompletionResult]::new('--replay', '--replay', [CompletionResultType]::ParameterName, 'Send the outgoing messages of a recording again, at the times they were sent')
            [CompletionResult]::new('--speed', '--speed', [CompletionResultType]::ParameterName, 'How many times faster to replay; `max` does not wait at all')
            [CompletionResult]::new('--timeout', '--timeout', [CompletionResultType]::ParameterName, 'Give up after this time, whatever happens [default: 60s where there are probe steps]')
            [CompletionResult]::new('--wait-ready', '--wait-ready', [CompletionResultType]::ParameterName, 'Try to connect for this long, until the first success')
            [CompletionResult]::new('--max-delay', '--max-delay', [CompletionResultType]::ParameterName, 'The longest pause between two attempts; pauses double from 250ms, with full jitter')
            [CompletionResult]::new('--max-retries', '--max-retries', [CompletionResultType]::ParameterName, 'Give up after this many failed attempts in a row')
            [CompletionResult]::new('--ok-close', '--ok-close', [CompletionResultType]::ParameterName, 'Close codes that count as a clean end, besides 1000 (repeat, or separate with commas)')
            [CompletionResult]::new('--frame', '--frame', [CompletionResultType]::ParameterName, 'How bytes become messages [default: lines; raw where both ends are byte streams]')
            [CompletionResult]::new('--linger', '--linger', [CompletionResultType]::ParameterName, 'When the input has ended, go on until nothing was received for this long; `inf` never gives up')
            [CompletionResult]::new('--idle-timeout', '--idle-timeout', [CompletionResultType]::ParameterName, 'End a join that has been quiet for this long [default: never]')
            [CompletionResult]::new('--max-message', '--max-message', [CompletionResultType]::ParameterName, 'The largest message in either direction; a larger one is answered with Close 1009')
            [CompletionResult]::new('--connect-timeout', '--connect-timeout', [CompletionResultType]::ParameterName, 'How long resolving, connecting and all handshakes may take')
            [CompletionResult]::new('-H', '-H ', [CompletionResultType]::ParameterName, 'A header of the handshake request, as `Name: value` (repeat)')
            [CompletionResult]::new('--header', '--header', [CompletionResultType]::ParameterName, 'A header of the handshake request, as `Name: value` (repeat)')
            [CompletionResult]::new('--subprotocol', '--subprotocol', [CompletionResultType]::ParameterName, 'A subprotocol to offer, or for a listener to grant (repeat, or separate with commas)')
            [CompletionResult]::new('--origin', '--origin', [CompletionResultType]::ParameterName, 'The Origin to send')
            [CompletionResult]::new('--host', '--host', [CompletionResultType]::ParameterName, 'The Host to send in place of the address''s')
            [CompletionResult]::new('--user', '--user', [CompletionResultType]::ParameterName, 'Log in with HTTP basic authentication; `@FILE` reads USER:PASSWORD from a file')
            [CompletionResult]::new('--bearer', '--bearer', [CompletionResultType]::ParameterName, 'Log in with a bearer token; `@FILE` reads it from a file')
            [CompletionResult]::new('--cookie', '--cookie', [CompletionResultType]::ParameterName, 'A cookie to send, as `name=value` (repeat)')
            [CompletionResult]::new('--ping-interval', '--ping-interval', [CompletionResultType]::ParameterName, 'Send a Ping after this much quiet [default: off in connect, 30s in serve and with --reconnect]')
            [CompletionResult]::new('--ping-timeout', '--ping-timeout', [CompletionResultType]::ParameterName, 'Take the connection for lost when a Ping has gone unanswered for this long')
            [CompletionResult]::new('--max-redirects', '--max-redirects', [CompletionResultType]::ParameterName, 'How many HTTP redirects to follow')
            [CompletionResult]::new('--ca', '--ca', [CompletionResultType]::ParameterName, 'Trust the authorities in FILE, PEM, in place of the system''s (repeat)')
            [CompletionResult]::new('--client-cert', '--client-cert', [CompletionResultType]::ParameterName, 'Log in with this certificate chain, PEM')
            [CompletionResult]::new('--client-key', '--client-key', [CompletionResultType]::ParameterName, 'The private key of --client-cert, PEM')
            [CompletionResult]::new('--sni', '--sni', [CompletionResultType]::ParameterName, 'The server name to ask for and to check')
            [CompletionResult]::new('--alpn', '--alpn', [CompletionResultType]::ParameterName, 'A protocol to offer by ALPN (repeat, or separate with commas)')
            [CompletionResult]::new('--pin', '--pin', [CompletionResultType]::ParameterName, 'Accept only a certificate with this SHA-256 fingerprint, whoever signed it (repeat)')
            [CompletionResult]::new('--max-children', '--max-children', [CompletionResultType]::ParameterName, 'How many children of exec:, sh: and pty: may run at once')
            [CompletionResult]::new('--stop-grace', '--stop-grace', [CompletionResultType]::ParameterName, 'How long a child has to stop after each of: end of input, SIGHUP, SIGTERM; then SIGKILL')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colours; NO_COLOR is respected')
            [CompletionResult]::new('--pretty', '--pretty', [CompletionResultType]::ParameterName, 'Indent JSON on the console')
            [CompletionResult]::new('--timestamps', '--timestamps', [CompletionResultType]::ParameterName, 'Show the time of each message on the console')
            [CompletionResult]::new('--show-control', '--show-control', [CompletionResultType]::ParameterName, 'Show pings and pongs on the console')
            [CompletionResult]::new('--reconnect', '--reconnect', [CompletionResultType]::ParameterName, 'Connect again when the connection is lost; never after an HTTP 4xx or a Close 1008')
            [CompletionResult]::new('--text', '--text', [CompletionResultType]::ParameterName, 'Send everything as text messages')
            [CompletionResult]::new('-b', '-b', [CompletionResultType]::ParameterName, 'Send everything as binary messages')
            [CompletionResult]::new('--binary', '--binary', [CompletionResultType]::ParameterName, 'Send everything as binary messages')
            [CompletionResult]::new('--no-proxy', '--no-proxy', [CompletionResultType]::ParameterName, 'Ignore HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY')
            [CompletionResult]::new('-k', '-k', [CompletionResultType]::ParameterName, 'Accept any certificate')
            [CompletionResult]::new('--insecure', '--insecure', [CompletionResultType]::ParameterName, 'Accept any certificate')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more on stderr: -v what happens, -vv every message')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more on stderr: -v what happens, -vv every message')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say nothing on stderr but errors; in `connect`, print no payload either')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing on stderr but errors; in `connect`, print no payload either')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'towline;serve' {
            [CompletionResult]::new('--announce', '--announce', [CompletionResultType]::ParameterName, 'How to say that the listeners are ready')
            [CompletionResult]::new('--on-listen', '--on-listen', [CompletionResultType]::ParameterName, 'Run a shell command when all listeners are ready; TOWLINE_LISTEN holds their addresses')
            [CompletionResult]::new('--max-peers', '--max-peers', [CompletionResultType]::ParameterName, 'Peers at once; more wait until one leaves')
            [CompletionResult]::new('--max-handshakes', '--max-handshakes', [CompletionResultType]::ParameterName, 'Handshakes in flight at once; more wait')
            [CompletionResult]::new('--handshake-timeout', '--handshake-timeout', [CompletionResultType]::ParameterName, 'How long a peer may take for its handshakes')
            [CompletionResult]::new('--drain', '--drain', [CompletionResultType]::ParameterName, 'How long to wait for peers to leave after SIGTERM or SIGINT')
            [CompletionResult]::new('--access-log', '--access-log', [CompletionResultType]::ParameterName, 'Write a line to stderr for every peer that leaves')
            [CompletionResult]::new('--route', '--route', [CompletionResultType]::ParameterName, 'Join the WebSockets of one path to a target of its own, as `/logs=exec:tail -f x`')
            [CompletionResult]::new('--static', '--static', [CompletionResultType]::ParameterName, 'Serve the files of a directory to plain GETs')
            [CompletionResult]::new('--allow-origin', '--allow-origin', [CompletionResultType]::ParameterName, 'Accept browsers from this Origin only; `*` is any (repeat) [default: any for echo:, null: and hub:, this host for all other targets]')
            [CompletionResult]::new('--basic-auth', '--basic-auth', [CompletionResultType]::ParameterName, 'Ask for one of the USER:PASSWORD lines of FILE (HTTP basic)')
            [CompletionResult]::new('--bearer-auth', '--bearer-auth', [CompletionResultType]::ParameterName, 'Ask for one of the tokens in FILE, one a line (Authorization: Bearer)')
            [CompletionResult]::new('--max-header', '--max-header', [CompletionResultType]::ParameterName, 'The largest request head')
            [CompletionResult]::new('--reply', '--reply', [CompletionResultType]::ParameterName, 'Answer every message with TEXT; {} in it is the message (repeat to take turns)')
            [CompletionResult]::new('--close-after', '--close-after', [CompletionResultType]::ParameterName, 'Close after N messages, as `5:4001:quota`')
            [CompletionResult]::new('--delay', '--delay', [CompletionResultType]::ParameterName, 'Wait before each answer')
            [CompletionResult]::new('--name-from', '--name-from', [CompletionResultType]::ParameterName, 'Where the name of a WebSocket peer comes from, as `header:X-User`, `query:name` or `path`')
            [CompletionResult]::new('--slow', '--slow', [CompletionResultType]::ParameterName, 'What happens to a peer that reads too slowly')
            [CompletionResult]::new('--queue', '--queue', [CompletionResultType]::ParameterName, 'How many messages wait for a slow peer')
            [CompletionResult]::new('--cert', '--cert', [CompletionResultType]::ParameterName, 'The certificate chain, PEM; read again when the file changes')
            [CompletionResult]::new('--key', '--key', [CompletionResultType]::ParameterName, 'The private key of --cert, PEM')
            [CompletionResult]::new('--client-ca', '--client-ca', [CompletionResultType]::ParameterName, 'Ask peers for a certificate of one of these authorities, PEM')
            [CompletionResult]::new('--frame', '--frame', [CompletionResultType]::ParameterName, 'How bytes become messages [default: lines; raw where both ends are byte streams]')
            [CompletionResult]::new('--linger', '--linger', [CompletionResultType]::ParameterName, 'When the input has ended, go on until nothing was received for this long; `inf` never gives up')
            [CompletionResult]::new('--idle-timeout', '--idle-timeout', [CompletionResultType]::ParameterName, 'End a join that has been quiet for this long [default: never]')
            [CompletionResult]::new('--max-message', '--max-message', [CompletionResultType]::ParameterName, 'The largest message in either direction; a larger one is answered with Close 1009')
            [CompletionResult]::new('--connect-timeout', '--connect-timeout', [CompletionResultType]::ParameterName, 'How long resolving, connecting and all handshakes may take')
            [CompletionResult]::new('-H', '-H ', [CompletionResultType]::ParameterName, 'A header of the handshake request, as `Name: value` (repeat)')
            [CompletionResult]::new('--header', '--header', [CompletionResultType]::ParameterName, 'A header of the handshake request, as `Name: value` (repeat)')
            [CompletionResult]::new('--subprotocol', '--subprotocol', [CompletionResultType]::ParameterName, 'A subprotocol to offer, or for a listener to grant (repeat, or separate with commas)')
            [CompletionResult]::new('--origin', '--origin', [CompletionResultType]::ParameterName, 'The Origin to send')
            [CompletionResult]::new('--host', '--host', [CompletionResultType]::ParameterName, 'The Host to send in place of the address''s')
            [CompletionResult]::new('--user', '--user', [CompletionResultType]::ParameterName, 'Log in with HTTP basic authentication; `@FILE` reads USER:PASSWORD from a file')
            [CompletionResult]::new('--bearer', '--bearer', [CompletionResultType]::ParameterName, 'Log in with a bearer token; `@FILE` reads it from a file')
            [CompletionResult]::new('--cookie', '--cookie', [CompletionResultType]::ParameterName, 'A cookie to send, as `name=value` (repeat)')
            [CompletionResult]::new('--ping-interval', '--ping-interval', [CompletionResultType]::ParameterName, 'Send a Ping after this much quiet [default: off in connect, 30s in serve and with --reconnect]')
            [CompletionResult]::new('--ping-timeout', '--ping-timeout', [CompletionResultType]::ParameterName, 'Take the connection for lost when a Ping has gone unanswered for this long')
            [CompletionResult]::new('--max-redirects', '--max-redirects', [CompletionResultType]::ParameterName, 'How many HTTP redirects to follow')
            [CompletionResult]::new('--ca', '--ca', [CompletionResultType]::ParameterName, 'Trust the authorities in FILE, PEM, in place of the system''s (repeat)')
            [CompletionResult]::new('--client-cert', '--client-cert', [CompletionResultType]::ParameterName, 'Log in with this certificate chain, PEM')
            [CompletionResult]::new('--client-key', '--client-key', [CompletionResultType]::ParameterName, 'The private key of --client-cert, PEM')
            [CompletionResult]::new('--sni', '--sni', [CompletionResultType]::ParameterName, 'The server name to ask for and to check')
            [CompletionResult]::new('--alpn', '--alpn', [CompletionResultType]::ParameterName, 'A protocol to offer by ALPN (repeat, or separate with commas)')
            [CompletionResult]::new('--pin', '--pin', [CompletionResultType]::ParameterName, 'Accept only a certificate with this SHA-256 fingerprint, whoever signed it (repeat)')
            [CompletionResult]::new('--max-children', '--max-children', [CompletionResultType]::ParameterName, 'How many children of exec:, sh: and pty: may run at once')
            [CompletionResult]::new('--stop-grace', '--stop-grace', [CompletionResultType]::ParameterName, 'How long a child has to stop after each of: end of input, SIGHUP, SIGTERM; then SIGKILL')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colours; NO_COLOR is respected')
            [CompletionResult]::new('--inetd', '--inetd', [CompletionResultType]::ParameterName, 'Serve the one connection that is stdin and stdout, as inetd hands it over, then exit')
            [CompletionResult]::new('--page', '--page', [CompletionResultType]::ParameterName, 'Serve a page to try the WebSocket with [default: for echo: on loopback]')
            [CompletionResult]::new('--no-page', '--no-page', [CompletionResultType]::ParameterName, 'Serve no such page')
            [CompletionResult]::new('--no-status', '--no-status', [CompletionResultType]::ParameterName, 'Do not answer /healthz and /metrics')
            [CompletionResult]::new('--tls-self-signed', '--tls-self-signed', [CompletionResultType]::ParameterName, 'Make a certificate for this run and print the fingerprint to --pin')
            [CompletionResult]::new('--text', '--text', [CompletionResultType]::ParameterName, 'Send everything as text messages')
            [CompletionResult]::new('-b', '-b', [CompletionResultType]::ParameterName, 'Send everything as binary messages')
            [CompletionResult]::new('--binary', '--binary', [CompletionResultType]::ParameterName, 'Send everything as binary messages')
            [CompletionResult]::new('--no-proxy', '--no-proxy', [CompletionResultType]::ParameterName, 'Ignore HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY')
            [CompletionResult]::new('-k', '-k', [CompletionResultType]::ParameterName, 'Accept any certificate')
            [CompletionResult]::new('--insecure', '--insecure', [CompletionResultType]::ParameterName, 'Accept any certificate')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more on stderr: -v what happens, -vv every message')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more on stderr: -v what happens, -vv every message')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say nothing on stderr but errors; in `connect`, print no payload either')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing on stderr but errors; in `connect`, print no payload either')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'towline;completions' {
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colours; NO_COLOR is respected')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more on stderr: -v what happens, -vv every message')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more on stderr: -v what happens, -vv every message')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say nothing on stderr but errors; in `connect`, print no payload either')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing on stderr but errors; in `connect`, print no payload either')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'towline;man' {
            [CompletionResult]::new('--dir', '--dir', [CompletionResultType]::ParameterName, 'Write every page into this directory')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colours; NO_COLOR is respected')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more on stderr: -v what happens, -vv every message')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more on stderr: -v what happens, -vv every message')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say nothing on stderr but errors; in `connect`, print no payload either')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing on stderr but errors; in `connect`, print no payload either')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'towline;help' {
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colours; NO_COLOR is respected')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more on stderr: -v what happens, -vv every message')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more on stderr: -v what happens, -vv every message')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say nothing on stderr but errors; in `connect`, print no payload either')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing on stderr but errors; in `connect`, print no payload either')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
    })

    $completions.Where{ $_.CompletionText -like "$wordToComplete*" } |
        Sort-Object -Property ListItemText
}
