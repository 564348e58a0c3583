"""The cluster's decisions, in plain Python: no Ray, no threads, no clock and no randomness of its own.

Three state machines. Each takes an event through `handle` (the client: through its methods) and returns
what its shell is to do; what comes of that is the next event. They are not thread-safe: one caller at a
time, events in the order in which they arrived.

**`coordinator.CoordinatorCore`** takes `events.Event`, returns `commands.Command`. It gives each event to one
of its parts: `membership` (the view), `roster` (who comes and goes), `requests` (what clients ask for),
`outbox` (answers); they share the `catalog`, the `placement` and the `doubts`.

===================  ============================================  =======================================
command              who performs it                               which event comes back
===================  ============================================  =======================================
`PersistView`        coordinator shell: KV, create-if-absent       `ViewPersisted` or `ViewRefused`
                     of entry `view.number`
`CheckView`          coordinator shell: is entry number + 1 there  `ViewChecked`, with the same `asked_s`
`TakeInventory`      the member, through its `TierCore`            `InventoryReported`
`PutMany`            the member; `payload` is what the client's    `Done`
                     `StoreMany` carried, untouched
`CopyMany`           the member that is to get the copy; it        `Done`
                     fetches from `source`
`DropMany`           the member                                    `Done`
`MarkMany`           the member                                    `Done`
`UpdateMany`         the member                                    `Done`
`ResetMember`        the member: `TierCore.reset`                  `MemberJoined`, when it announces itself
`Quarantine`         the member's shell: set the disk aside, end   none
`Reply`              whoever waits for that request id             none
`AskAgain`           the shell: the same request, a little later   the request
`Announce`           subscribers, status                           none
`Stop`               coordinator shell: end this process           none
===================  ============================================  =======================================

An answer of a member is passed on as it is (`Done` with its `stamp` and `refusal`). Where a call to a
member fails or times out the shell does nothing: the core repeats the command at a `Tick`, with the same
stamp, until it is answered or the shell says `MemberLost`. The shell sends `Tick` a few times a second,
and `MemberLost` when an actor or its node is dead or has been silent for too long. A member announces
itself with `MemberJoined` (its `MemberInfo`) at its start and again until it is asked for its inventory.
The first event is `Start`, with the newest view of the log and whoever answered "who are you".

Client requests (`StoreMany`, `DeleteMany`, `LocateMany`, `ListKeys`, `MoveMany`, `UpdateKeys`) are
answered by one `Reply` with their request id, sooner or later; while the catalog is being rebuilt they
wait. Where what an earlier coordinator has done must first be made safe, the core says `AskAgain` and
forgets the request. A repeated request with the same id is answered again and changes nothing. A request
whose caller has gone is carried out all the same.

**`tier.TierCore`** takes the member commands, `Written` and `Fetched`, returns `tier.Action`
(`tier_actions`); what it keeps, and what may replace what, is in its `slot_table`. Its shell owns the
blob store: `Write` -> put records and bytes (fsynced where durable) -> `Written`; `Erase` -> remove ->
`Written`; `Fetch` -> get values with their slots from the source actor, verify -> `Fetched`; `Respond` ->
to the coordinator that sent the command with that stamp; `Wipe` -> clear a volatile store;
`AnnounceMember` -> `MemberJoined` at whoever is coordinator now. Reads ask `may_read` first. At its start
a durable member makes its slots from the records in its store.

**`client.ClientCore`** repeats requests by id until they are answered or out of time, and turns a read into
`LocateMany`, `ReadFrom` and, where a copy has moved or is bad, another round.

What is durable when a store is acknowledged: the copies that its options ask for exist, confirmed by their
members; nothing older can come back. See `stores`, `deletes`, `doubts`, `transfers`, `withdrawals`,
`rebuild` and `membership` for why. What a coordinator loses with its life: nothing but its queue; clients
repeat their requests.
"""
