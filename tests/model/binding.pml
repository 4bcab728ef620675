/* binding: two key managers that are peers, from the key source to the two rings of a stream. It follows
   include/qkd004/key_manager.ipp (the functions on(hello) to on(closed) have their names here) and the page of the
   wire room, "Order of messages" and "Bind and confirm". README.md beside this file says what is left out.
   SPDX-License-Identifier: Apache-2.0 */

/* --- Bounds: check.py sets them for each run ----------------------------------------------------------------- */
#ifndef STREAMS
#define STREAMS 1    /* KSIDs that applications may use in all */
#endif
#ifndef INDICES
#define INDICES 3    /* chunks that a stream may have */
#endif
#ifndef RING
#define RING 2       /* slots of a ring: the window between the lowest held and the highest allocated */
#endif
#ifndef OPENS
#define OPENS 1      /* successful or refused OPEN_CONNECTs in all */
#endif
#ifndef BREAKS
#define BREAKS 1     /* connections that are lost in all */
#endif
#ifndef RESTARTS
#define RESTARTS 0   /* key managers that are started again in all */
#endif
#ifndef CLOSES
#define CLOSES 0     /* CLOSEs in all */
#endif

/* Messages on their way in one direction. None of the runs needs more: Spin reports a send that would block. */
#define CAPACITY 14

/* --- Mutants: each is one way to break the rule; check.py sets MUTANT to a name, and the run must fail ------- */
#define serve_before_confirm 1    /* the allocator publishes what it binds at once */
#define confirm_before_block 2    /* the peer confirms before the key is there */
#define publish_not_stored   3    /* the allocator overlooks that the peer did not store the chunk */
#define resend_binds_anew    4    /* unconfirmed indices are bound to other octets after a reconnection */
#define bind_not_resent      5    /* unconfirmed bindings are forgotten with the connection */
#define deferred_kept        6    /* the peer keeps deferred bindings over a reconnection */
#define forgets_recent       7    /* the peer does not keep what it confirmed */
#define restart_unnoticed    8    /* a session goes on whoever answers */
#define same_key_again       9    /* the key source begins the same sequence again after a restart */
#define retired_forgotten    10   /* the KSID of a stream that ended is taken as a new one */
#define peer_window_ignored  11   /* the allocator looks at its own ring only */
#define mark_destroys        12   /* what the peer's reader has let go is destroyed here as well */
#define close_destroys       13   /* the peer's CLOSE destroys what this side holds */
#define end_too_early        14   /* the peer's CLOSE ends the ring before what is under way has come */
#define end_forgets          15   /* the end looks at deferred bindings only, and those went with the connection */
#define end_not_told         16   /* a waiting reader does not learn that the peer has closed */
#define confirm_mistaken     18   /* a confirm is taken for the newest binding */
#define close_forgotten      17   /* a CLOSE that was not answered is not repeated after a reconnection */
#ifndef MUTANT
#define MUTANT 0
#endif
#define broken_by(mutant) (MUTANT == mutant)

/* --- Properties ---------------------------------------------------------------------------------------------- */
hidden byte R1_stored_first;       /* the allocator publishes only what the peer has stored under the same index */
hidden byte R1_same_bytes;         /* what a side publishes under an index is what was bound to it: both sides agree */
hidden byte R1_bytes_once;         /* the same bytes are never bound twice, not even after a restart */
hidden byte R1_never_broken_off;   /* two correct key managers never find the other's bindings at fault */
hidden byte R1_in_step;            /* both sources of a session deliver the same sequence */
hidden byte R2_index_once;         /* an index of a KSID is bound once, while an instance lives that knew the KSID */
hidden byte R6_sides_independent;  /* only this side's reader, CLOSE or session destroys what this side holds */
hidden byte R6_end_is_last;        /* a ring that was told its end gets nothing more */

inline must(property, holds) { property = (holds); assert(property) }

/* --- A key manager ------------------------------------------------------------------------------------------- */
mtype = { hello, start, announce, accept, refuse, bind, confirm, mark, close, closed };
mtype = { down, greeting, starting, ready };             /* stage of the link */
mtype = { unknown, registered, settled, retired };       /* a stream at one side */

#define A 0  /* the lower node id: it allocates (R1) */
#define B 1
#define at(n, k) ((n) * STREAMS + (k))
#define name_of(k, i) ((k) * INDICES + (i) + 1)          /* (KSID, index); 0 is none */
#define stream_of(name) (((name) - 1) / INDICES)
#define index_of(name) (((name) - 1) % INDICES)
#define settled_below(n) (n == A -> first_outstanding : bound[B])
#define POSITIONS (STREAMS * INDICES)                    /* chunks of a session: every index is bound once at most */
#define STARTS (RESTARTS + 1)

chan to[2] = [CAPACITY] of { mtype, byte, byte, byte };  /* in order, or not at all */
bool connected;                                          /* what is sent arrives */

byte instance[2] = 1;
mtype stage[2] = down;
byte peer_instance[2];                 /* 0: no session */
byte sequence[2];                      /* of the key source: a number of the pair of instances */
byte bound[2];                         /* position of the first chunk that no stream has */

mtype stream[2 * STREAMS] = unknown;
byte published[2 * STREAMS];
byte lowest[2 * STREAMS];              /* lowest index that the ring holds */
bool peer_closed[2 * STREAMS];
byte ends_at[2 * STREAMS];             /* position up to which the peer had bound when it closed */
bool finished[2 * STREAMS];            /* the ring was told its end: a reader of what is not there gets it */
bool closing[2 * STREAMS];             /* closed here, and the peer has not said that it knows */

byte allocated[STREAMS];               /* A: next index to bind */
byte peer_low[STREAMS];                /* A: lowest index that B holds */
byte outstanding[POSITIONS];           /* A: by position, the names that were sent and are not confirmed */
byte first_outstanding;
byte deferred[POSITIONS];              /* B: by position, the names whose block has not arrived */
byte end_of_deferred;                  /* B: bound[B] if there is none */
byte recent[POSITIONS];                /* B: by position, the names that were confirmed, to compare repetitions */
bool recent_stored[POSITIONS];

byte opens, breaks, restarts, closes, fresh;

/* --- What no key manager sees: who has which bytes ------------------------------------------------------------ */
byte owner[STARTS * STARTS * POSITIONS];  /* bytes -> the name they were bound to */
bool bound_once[POSITIONS + 1];           /* name -> it has been bound */
bool stored[POSITIONS + 1];               /* name -> B has published it */
byte received[2 * STREAMS];               /* chunks that the reader of a side was handed */
#define bytes_at(n, position) \
  ((broken_by(same_key_again) -> 0 : sequence[n] - 1) * POSITIONS + (position))

hidden byte x, y;                         /* loops */
hidden byte p1, p2, p3;                   /* fields of the message at hand */
hidden byte goes_on;
hidden mtype kind;

inline send(n, message, f1, f2, f3) {
  if
  :: connected -> to[1 - (n)]!message(f1, f2, f3); printf("    %c sends %e(%d, %d, %d)\n", 'A' + n, message, f1, f2, f3)
  :: else
  fi
}

inline publish(n, name, position) {
  printf("    %c publishes name %d, position %d\n", 'A' + n, name, position);
  must(R1_same_bytes, owner[bytes_at(n, position)] == name);
  must(R6_end_is_last, !finished[at(n, stream_of(name))]);
  must(R1_never_broken_off, index_of(name) == published[at(n, stream_of(name))]);
  must(R1_never_broken_off,
       published[at(n, stream_of(name))] - lowest[at(n, stream_of(name))] < RING);
  if
  :: n == A -> must(R1_stored_first, stored[name])
  :: else -> stored[name] = true
  fi;
  published[at(n, stream_of(name))]++
}

/* Once the peer has closed, and what it had bound before that has come, nothing will be published any more. */
inline finish_if_drained(n, k) {
  if
  :: peer_closed[at(n, k)] && !broken_by(end_not_told) &&
     (settled_below(n) >= ends_at[at(n, k)] || broken_by(end_too_early) ||
      (broken_by(end_forgets) && (n == B) && bound[B] == end_of_deferred)) -> finished[at(n, k)] = true
  :: else
  fi
}

inline end_peer(n, k) {
  if
  :: !peer_closed[at(n, k)] ->
     peer_closed[at(n, k)] = true;
     ends_at[at(n, k)] = (n == A -> bound[A] : end_of_deferred)  /* also when these are deferred again later */
  :: else
  fi;
  if
  :: broken_by(close_destroys) -> lowest[at(n, k)] = published[at(n, k)]
  :: else
  fi;
  must(R6_sides_independent, lowest[at(n, k)] == received[at(n, k)]);
  finish_if_drained(n, k)
}

inline forget_stream(n, k) {
  published[at(n, k)] = 0; lowest[at(n, k)] = 0; received[at(n, k)] = 0;
  peer_closed[at(n, k)] = false; ends_at[at(n, k)] = 0; finished[at(n, k)] = false; closing[at(n, k)] = false;
  if
  :: n == A -> allocated[k] = 0; peer_low[k] = 0
  :: else
  fi
}

inline forget_bindings(n) {
  bound[n] = 0;
  x = 0;
  do
  :: x < POSITIONS && n == A -> outstanding[x] = 0; x++
  :: x < POSITIONS && n == B -> deferred[x] = 0; recent[x] = 0; recent_stored[x] = 0; x++
  :: else -> break
  od;
  if
  :: n == A -> first_outstanding = 0
  :: else -> end_of_deferred = 0
  fi
}

/* Whatever was agreed with another instance of the peer is void; the key source starts a sequence for this pair. */
inline reset_session(n, with) {
  forget_bindings(n);
  x = 0;
  do
  :: x < STREAMS ->
     closing[at(n, x)] = false;
     if
     :: stream[at(n, x)] == settled -> forget_stream(n, x); stream[at(n, x)] = retired
     :: else
     fi;
     x++
  :: else -> break
  od;
  peer_instance[n] = with;
  sequence[n] = 1 + (n == A -> (instance[A] - 1) * STARTS + with - 1 : (with - 1) * STARTS + instance[B] - 1)
}

inline link_up(n) {
  stage[n] = greeting;
  send(n, hello, instance[n], peer_instance[n], 0)
}

inline drain(n) {
  do
  :: nempty(to[n]) -> to[n]?kind(p1, p2, p3)
  :: empty(to[n]) -> break
  od
}

inline link_down(n) {
  printf("%c has no connection\n", 'A' + n);
  stage[n] = down;
  drain(n);
  if
  :: n == B && !broken_by(deferred_kept) ->  /* the allocator sends them again */
     x = bound[B];
     do
     :: x < end_of_deferred -> deferred[x] = 0; x++
     :: else -> break
     od;
     end_of_deferred = bound[B]
  :: else
  fi
}

inline restart(n) {
  printf("%c starts again\n", 'A' + n);
  link_down(n);
  connected = false;
  instance[n]++;
  forget_bindings(n);
  x = 0;
  do
  :: x < STREAMS ->
     forget_stream(n, x);
     stream[at(n, x)] = unknown;
     if
     :: stream[at(1 - n, x)] == unknown || stream[at(1 - n, x)] == registered ->
        /* R2, memory mode: no instance lives that knew the KSID */
        y = 0;
        do
        :: y < INDICES -> bound_once[name_of(x, y)] = false; stored[name_of(x, y)] = false; y++
        :: else -> break
        od
     :: else
     fi;
     x++
  :: else -> break
  od;
  peer_instance[n] = 0;
  sequence[n] = 0
}

inline become_ready(n) {
  stage[n] = ready;
  x = 0;
  do  /* registration is A's here: B's announcing what A knows already would say nothing new */
  :: x < STREAMS ->
     if
     :: n == A && (stream[at(A, x)] == registered || stream[at(A, x)] == settled) && !peer_closed[at(A, x)] ->
        send(A, announce, x, 0, 0)
     :: else
     fi;
     x++
  :: else -> break
  od;
  if
  :: n == A && broken_by(bind_not_resent) ->
     x = first_outstanding;
     do
     :: x < bound[A] -> outstanding[x] = 0; x++
     :: else -> break
     od;
     first_outstanding = bound[A]
  :: n == A && !broken_by(bind_not_resent) ->
     x = first_outstanding;
     if
     :: broken_by(resend_binds_anew) && x + 1 < bound[A] ->  /* two indices change octets */
        y = outstanding[x]; outstanding[x] = outstanding[x + 1]; outstanding[x + 1] = y;
        owner[bytes_at(A, x)] = outstanding[x]; owner[bytes_at(A, x + 1)] = y
     :: else
     fi;
     do
     :: x < bound[A] -> send(A, bind, outstanding[x], x, first_outstanding); x++
     :: else -> break
     od
  :: else
  fi;
  x = 0;
  do  /* after the bindings that came before the CLOSE */
  :: x < STREAMS ->
     if
     :: closing[at(n, x)] && !broken_by(close_forgotten) -> send(n, close, x, 0, 0)
     :: else
     fi;
     if
     :: n == B && stream[at(B, x)] == settled -> send(B, mark, x, lowest[at(B, x)], 0)
     :: else
     fi;
     x++
  :: else -> break
  od
}

/* --- Messages ------------------------------------------------------------------------------------------------- */
inline on_hello(n, theirs, remembers) {
  goes_on = peer_instance[n] == theirs && remembers == instance[n];
  if
  :: broken_by(restart_unnoticed) -> goes_on = peer_instance[n] != 0
  :: else
  fi;
  if
  :: !goes_on -> reset_session(n, theirs)
  :: else
  fi;
  stage[n] = starting;
  send(n, start, sequence[n], 0, 0)
}

inline on_start(n, theirs) {
  must(R1_in_step, theirs == sequence[n]);
  become_ready(n)
}

inline on_announce(k) {  /* at B */
  if
  :: stream[at(B, k)] == retired && !broken_by(retired_forgotten) -> send(B, refuse, k, 0, 0)
  :: stream[at(B, k)] == settled -> send(B, accept, k, 0, 0)
  :: else ->
     forget_stream(B, k);
     stream[at(B, k)] = settled;
     send(B, accept, k, 0, 0)
  fi
}

inline on_accept(k) {  /* at A */
  if
  :: stream[at(A, k)] == registered -> stream[at(A, k)] = settled
  :: else  /* settled before, or closed in the meantime */
  fi
}

inline on_refuse(k) {  /* at A */
  if
  :: stream[at(A, k)] == settled -> end_peer(A, k)  /* the peer closed it */
  :: stream[at(A, k)] == registered -> forget_stream(A, k); stream[at(A, k)] = unknown
  :: else
  fi
}

inline on_bind(name, position, confirmed_below) {  /* at B */
  x = 0;
  do
  :: x < confirmed_below -> recent[x] = 0; recent_stored[x] = 0; x++
  :: else -> break
  od;
  if
  :: position < end_of_deferred ->  /* a repetition */
     must(R1_never_broken_off, recent[position] == name);
     send(B, confirm, position, recent_stored[position], 0)
  :: else ->
     must(R1_never_broken_off, position == end_of_deferred);
     deferred[position] = name;
     end_of_deferred++;
     if
     :: broken_by(confirm_before_block) -> send(B, confirm, position, 1, 0)
     :: else
     fi
  fi
}

/* The block of the oldest deferred binding has arrived: stores and confirms it. */
inline apply_deferred() {  /* at B */
  p1 = deferred[bound[B]];
  printf("B has the block of name %d, position %d\n", p1, bound[B]);
  deferred[bound[B]] = 0;
  p2 = (stream[at(B, stream_of(p1))] == settled);
  bound[B]++;
  if
  :: p2 -> publish(B, p1, bound[B] - 1)
  :: else  /* the stream is gone here: the octets are destroyed */
  fi;
  if
  :: broken_by(forgets_recent) -> skip
  :: else -> recent[bound[B] - 1] = p1; recent_stored[bound[B] - 1] = p2
  fi;
  if
  :: broken_by(confirm_before_block) -> skip
  :: else -> send(B, confirm, bound[B] - 1, p2, 0)
  fi;
  if
  :: p2 -> finish_if_drained(B, stream_of(p1))
  :: else
  fi
}

inline on_confirm(position, was_stored) {  /* at A */
  must(R1_never_broken_off, first_outstanding < bound[A] && first_outstanding == position);
  p3 = outstanding[(broken_by(confirm_mistaken) -> bound[A] - 1 : first_outstanding)];
  outstanding[first_outstanding] = 0;
  first_outstanding++;
  if
  :: stream[at(A, stream_of(p3))] == settled ->
     if
     :: (was_stored || broken_by(publish_not_stored)) && !broken_by(serve_before_confirm) ->
        publish(A, p3, position)
     :: else
     fi;
     finish_if_drained(A, stream_of(p3))
  :: else
  fi
}

inline on_mark(k, low) {  /* at A */
  if
  :: stream[at(A, k)] == settled ->
     must(R1_never_broken_off, low <= allocated[k]);
     peer_low[k] = (low > peer_low[k] -> low : peer_low[k]);
     if
     :: broken_by(mark_destroys) && low > lowest[at(A, k)] && low <= published[at(A, k)] -> lowest[at(A, k)] = low
     :: else
     fi;
     must(R6_sides_independent, lowest[at(A, k)] == received[at(A, k)])
  :: else
  fi
}

inline on_close(n, k) {
  send(n, closed, k, 0, 0);
  if
  :: stream[at(n, k)] == settled -> end_peer(n, k)
  :: else
  fi
}

proctype key_manager(byte n) {
  end: do
  :: d_step {
       stage[n] != down && nempty(to[n]) ->
       to[n]?kind(p1, p2, p3);
       printf("%c receives %e(%d, %d, %d)\n", 'A' + n, kind, p1, p2, p3);
       if
       :: kind == hello    -> on_hello(n, p1, p2)
       :: kind == start    -> on_start(n, p1)
       :: kind == announce -> on_announce(p1)
       :: kind == accept   -> on_accept(p1)
       :: kind == refuse   -> on_refuse(p1)
       :: kind == bind     -> on_bind(p1, p2, p3)
       :: kind == confirm  -> on_confirm(p1, p2)
       :: kind == mark     -> on_mark(p1, p2)
       :: kind == close    -> on_close(n, p1)
       :: kind == closed   -> closing[at(n, p1)] = false
       fi
     }
  :: d_step { n == B && stage[B] == ready && bound[B] < end_of_deferred -> apply_deferred() }
  :: d_step { stage[n] != down && !connected -> link_down(n) }
  od
}

/* --- Applications and what the allocator does by itself, for each KSID ----------------------------------------- */
inline read_next(n, k) {
  printf("the reader at %c takes index %d of stream %d\n", 'A' + n, received[at(n, k)], k);
  must(R6_sides_independent, lowest[at(n, k)] == received[at(n, k)]);
  lowest[at(n, k)]++;
  received[at(n, k)]++;
  if
  :: n == B && stage[B] == ready -> send(B, mark, k, lowest[at(B, k)], 0)
  :: else
  fi
}

inline close_stream(n, k) {
  printf("the application at %c closes stream %d\n", 'A' + n, k);
  closes++;
  y = !peer_closed[at(n, k)];
  forget_stream(n, k);
  stream[at(n, k)] = retired;
  closing[at(n, k)] = y;
  if
  :: y && stage[n] == ready -> send(n, close, k, 0, 0)
  :: else
  fi
}

#define window_room(k) (allocated[k] < lowest[at(A, k)] + RING \
                        && (allocated[k] < peer_low[k] + RING || broken_by(peer_window_ignored)))

inline allocate(k) {
  printf("A binds index %d of stream %d to position %d\n", allocated[k], k, bound[A]);
  must(R1_bytes_once, owner[bytes_at(A, bound[A])] == 0);
  must(R2_index_once, !bound_once[name_of(k, allocated[k])]);
  owner[bytes_at(A, bound[A])] = name_of(k, allocated[k]);
  bound_once[name_of(k, allocated[k])] = true;
  outstanding[bound[A]] = name_of(k, allocated[k]);
  bound[A]++;
  allocated[k]++;
  if
  :: broken_by(serve_before_confirm) -> publish(A, name_of(k, allocated[k] - 1), bound[A] - 1)
  :: else
  fi;
  send(A, bind, name_of(k, allocated[k] - 1), bound[A] - 1, first_outstanding)
}

proctype key_stream(byte k) {
  end: do
  :: d_step {  /* the application names a KSID, which may be one that was in use before; fresh ones come in order */
       stream[at(A, k)] == unknown && opens < OPENS && k <= fresh ->
       opens++;
       printf("the application at A opens stream %d\n", k);
       fresh = (k == fresh -> fresh + 1 : fresh);
       stream[at(A, k)] = registered;
       if
       :: stage[A] == ready -> send(A, announce, k, 0, 0)
       :: else
       fi
     }
  :: d_step {
       stage[A] == ready && stream[at(A, k)] == settled && !peer_closed[at(A, k)] && allocated[k] < INDICES &&
       window_room(k) -> allocate(k)
     }
  :: d_step { stream[at(A, k)] == settled && lowest[at(A, k)] < published[at(A, k)] -> read_next(A, k) }
  :: d_step { stream[at(B, k)] == settled && lowest[at(B, k)] < published[at(B, k)] -> read_next(B, k) }
  :: d_step {
       closes < CLOSES && (stream[at(A, k)] == settled || stream[at(A, k)] == registered) -> close_stream(A, k)
     }
  :: d_step { closes < CLOSES && stream[at(B, k)] == settled -> close_stream(B, k) }
  od
}

/* --- Connections come, go at any moment, and key managers start again ------------------------------------------ */
proctype weather() {
  end: do
  :: d_step { !connected && stage[A] == down && stage[B] == down -> connected = true; printf("connected\n"); link_up(A); link_up(B) }
  :: d_step { connected && breaks < BREAKS -> breaks++; connected = false; printf("the connection breaks\n") }
  :: d_step { restarts < RESTARTS -> restarts++; restart(A) }
  :: d_step { restarts < RESTARTS -> restarts++; restart(B) }
  :: breaks < BREAKS -> breaks++        /* chances that are not taken: a run with fewer of them is a whole run too */
  :: restarts < RESTARTS -> restarts++
  :: closes < CLOSES -> closes++
  od
}

init {
  atomic {
    run key_manager(A); run key_manager(B); run weather();
    x = 0;
    do
    :: x < STREAMS -> run key_stream(x); x++
    :: else -> break
    od
  }
}

/* --- Liveness. Every run is finite (opens, indices, breaks, restarts and closes are bounded, and each message has an
   end), so that no assumption of fairness is needed: what holds at the end of every run holds eventually. */
#define all_read(k) (received[at(A, k)] == INDICES && received[at(B, k)] == INDICES)
#define at_rest(n, k) (stream[at(n, k)] == unknown || stream[at(n, k)] == retired \
                       || (stream[at(n, k)] == settled && (received[at(n, k)] == INDICES \
                           || (finished[at(n, k)] && received[at(n, k)] == published[at(n, k)]))))

#if STREAMS == 1
/* Only connections are lost, and the last one stays: every index becomes readable, and is read, at both sides. */
ltl all_delivered { <> all_read(0) }
/* Whatever happens, the readers of every stream get all keys, or are told that there will be none. */
ltl all_answered { <> [] (at_rest(A, 0) && at_rest(B, 0)) }
#else
ltl all_delivered { <> (all_read(0) && all_read(1)) }
ltl all_answered { <> [] (at_rest(A, 0) && at_rest(B, 0) && at_rest(A, 1) && at_rest(B, 1)) }
#endif
