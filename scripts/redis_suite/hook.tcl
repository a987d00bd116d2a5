# Appended to tests/support/redis.tcl of Redis's own test suite by scripts/redis-suite.
#
# The prefix "" has a new collection after each FLUSHALL and FLUSHDB: the documents stay then, and the suite expects
# nothing to come back. With WB_SUITE_EVICTS all keys of the type are removed from Redis before each command, once their
# documents are written, so that each command finds nothing but what it loads.

namespace eval ::writebehind {
    variable collections 0
    # The servers whose registrations are ours.
    variable known
    array set known {}
    variable in_multi
    array set in_multi {}
    # Commands that look at Redis itself, or of which the keys must be as they are.
    variable keeps {
        acl auth bgrewriteaof bgsave client cluster command config dbsize debug discard exec failover function hello
        info keys lastsave latency memory module monitor multi object psubscribe psync punsubscribe quit randomkey
        readonly readwrite replicaof reset save scan script select shutdown slaveof slowlog ssubscribe subscribe
        sunsubscribe swapdb sync unsubscribe unwatch wait watch
    }
}

# Sends a command of the module and reads its reply, of which only the first line is returned.
proc ::writebehind::send {link args} {
    set text "*[llength $args]\r\n"
    foreach word $args {
        append text "$[string length $word]\r\n$word\r\n"
    }
    puts -nonewline $link $text
    flush $link
    return [read_reply $link]
}

proc ::writebehind::read_reply {link} {
    set line [string trimright [gets $link] "\r"]
    set length [string range $line 1 end]
    switch -- [string index $line 0] {
        "\$" { if {$length >= 0} { read $link [expr {$length + 2}] } }
        "*" { for {set i 0} {$i < $length} {incr i} { read_reply $link } }
    }
    return $line
}

# A connection of its own to the server of a client; empty if it is not served.
proc ::writebehind::connect {id} {
    lassign $::redis::addr($id) host port
    set link [socket $host $port]
    fconfigure $link -translation binary
    if {[send $link SELECT $::env(WB_SUITE_DB)] eq "+OK"} { return $link }
    close $link
    return {}
}

proc ::writebehind::register {link args} {
    variable collections
    set namespace "suite.c[pid]x$collections"
    set reply [send $link WB.REGISTER "" $namespace {*}$::env(WB_SUITE_OPTIONS) {*}$args]
    if {$reply ne "+OK"} { puts "WB.REGISTER: $reply" }
}

proc ::writebehind::renew {id} {
    variable collections
    set link [connect $id]
    if {$link eq {}} return
    send $link WB.UNREGISTER "" DISCARD
    incr collections
    register $link
    close $link
}

proc ::writebehind::evict {id} {
    set link [connect $id]
    if {$link eq {}} return
    set size [string range [send $link DBSIZE] 1 end]
    if {$size > 0 && $size <= 500} {
        send $link WB.FLUSH TIMEOUT 5000
        register $link ONDEL KEEP
        send $link EVAL {
            for _, key in ipairs(redis.call('KEYS', '*')) do
                if redis.call('TYPE', key).ok == ARGV[1] then redis.call('DEL', key) end
            end
        } 0 $::env(WB_SUITE_TYPE)
        send $link WB.FLUSH TIMEOUT 5000
        register $link ONDEL DELETE
    }
    close $link
}

rename ::redis::__dispatch__raw__ ::redis::__dispatch__plain__
proc ::redis::__dispatch__raw__ {id method argv} {
    set name [string tolower $method]
    set waits [expr {$::redis::blocking($id) && !$::redis::deferred($id)}]
    if {$waits && ![info exists ::writebehind::known($::redis::addr($id))]} {
        set ::writebehind::known($::redis::addr($id)) 1
        catch {::writebehind::renew $id}
    }
    set evicts [expr {$waits && $::env(WB_SUITE_EVICTS) && ![info exists ::writebehind::in_multi($id)]}]
    if {$evicts && [info command ::redis::__method__$method] eq {} && $name ni $::writebehind::keeps} {
        catch {::writebehind::evict $id}
    }
    set code [catch {::redis::__dispatch__plain__ $id $method $argv} reply]
    if {$name eq "multi"} { set ::writebehind::in_multi($id) 1 }
    if {$name in {exec discard reset}} { unset -nocomplain ::writebehind::in_multi($id) }
    if {$waits && $name in {flushall flushdb}} { catch {::writebehind::renew $id} }
    return -code $code $reply
}
