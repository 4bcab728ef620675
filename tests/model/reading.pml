/* reading: what one side of a stream hands out, to whom, and when it destroys it. It follows key_manager's
   open_connect, get_key, close and disconnect and key_ring's serve, take, acknowledge_below and expire, which have
   their names here. README.md beside this file says what is left out.
   SPDX-License-Identifier: Apache-2.0 */

/* --- Bounds: check.py sets them for each run ----------------------------------------------------------------- */
#ifndef INDICES
#define INDICES 4      /* chunks that the stream may have */
#endif
#ifndef RING
#define RING 2         /* slots */
#endif
#define WINDOW (RING / 2)
#ifndef EPOCHS
#define EPOCHS 3       /* OPEN_CONNECTs that succeed */
#endif
#ifndef LOSSES
#define LOSSES 2       /* replies that the patient reader of the liveness runs does not get */
#endif

/* --- Mutants: each is one way to break the rule; check.py sets MUTANT to a name, and the run must fail ------- */
#define anyone_reads         1   /* who knows the KSID may read */
#define anyone_resumes       2   /* who knows the KSID may resume, and owns the stream then */
#define anyone_closes        3   /* CLOSE does not ask who calls */
#define epoch_unchecked      4   /* a connection that was fenced off goes on reading */
#define fenced_call_served   5   /* a call that waited when its connection was fenced off is served later */
#define slot_unchecked       6   /* what lies in the slot is taken for what was asked for */
#define replays_last_reply   7   /* the last reply is kept for repetitions, beside the ring */
#define cursor               8   /* what lies below the last index served counts as gone */
#define age_unchecked        9   /* a chunk past its TTL is served until the sweep comes */
#define expires_all          10  /* the sweep destroys the young ones with the old */
#define expiry_uncounted     11  /* a chunk found too old when it is asked for is not counted */
#define expiry_skips_served  12  /* only unread chunks expire */
#define acknowledges_unread  13  /* an acknowledgement destroys live chunks as well */
#define write_acknowledges   14  /* a reply that was written counts as acknowledged */
#define wide_window          15  /* one index too many is acknowledged by the window */
#define late_window          16  /* the window is the ring, and moves only when a key was there to serve */
#define forgets_to_answer    18  /* who asks for what is gone is left waiting */
#define strict_kept          17  /* a chunk that must be read once stays for a repetition */
#define close_says_all       19  /* CLOSE acknowledges what was served, also for a reader that does so by word */
#ifndef MUTANT
#define MUTANT 0
#endif
#define broken_by(mutant) (MUTANT == mutant)

/* --- Properties ---------------------------------------------------------------------------------------------- */
hidden byte R3_one_principal;      /* the bytes of a stream go to one principal on this side */
hidden byte R3_fenced_gets_nothing;/* a connection that a newer OPEN_CONNECT fenced off gets no key */
hidden byte R3_fenced_does_nothing;/* and neither it nor a stranger destroys anything */
hidden byte R4_same_bytes;         /* an index is answered with the bytes that were bound to it, each time */
hidden byte R4_gone_is_gone;       /* what was acknowledged, taken, expired or closed is not served again */
hidden byte R4_repeats;            /* what is bound and was not destroyed is served as often as its owner asks */
hidden byte R4_waits_for_unbound;  /* only for what is not there yet a caller waits */
hidden byte R4_no_old_key;         /* no key past its TTL is served */
hidden byte R4_expires_old_only;   /* and only such key expires */
hidden byte R5_served_only;        /* an acknowledgement destroys only what was served */
hidden byte R5_acknowledged;       /* and only what its reader acknowledged, by word or by the window */
hidden byte R7_balance;            /* bound = acknowledged + expired + discarded + live */
hidden byte R8_once;               /* strict once: no second delivery */

inline must(property, holds) { property = (holds); assert(property) }

/* --- The side ------------------------------------------------------------------------------------------------- */
mtype = { plain, extension, strict };             /* its reader: standard calls only; says what it has; strict once */
mtype = { free, live, served };                   /* a slot */
mtype = { none, key, gone, over, fenced_off };    /* an answer: 0; 2 or 1029; the stream's end; 3 or 1026 */

#define CONNECTIONS 3
#define STRANGER 2                                /* connections 0 and 1 are of one principal, 2 is of another */
#define principal_of(c) (c == STRANGER -> 2 : 1)

mtype reader;
byte published;
mtype slot[RING] = free;
byte turn[RING];                /* the index that the slot is for */
byte bytes[RING];               /* whose bytes lie in it: index + 1, 0 for none */
byte owner;                     /* principal, 0: nobody has opened */
byte epoch;
byte used[CONNECTIONS];         /* epoch in which a connection used the stream last; 0: never */
byte waiting[CONNECTIONS];      /* index + 1 of a GET_KEY that waits, 0: none */
bool finished;                  /* the peer has closed: nothing more will be published */
bool closed;                    /* CLOSE, or a restart: in memory mode the stream is gone either way */
byte acknowledged, expired, discarded;
byte old_below;                 /* chunks below are past their TTL */
byte last_reply;                /* of a mutant */

#define at(i) ((i) % RING)
#define is_held(i) (slot[at(i)] != free && turn[at(i)] == (i))
#define is_served(i) (slot[at(i)] == served && turn[at(i)] == (i))
#define is_gone(i) (turn[at(i)] > (i))
#define live_in(s) (slot[s] != free -> 1 : 0)

/* --- What only an onlooker knows ------------------------------------------------------------------------------- */
byte who_has;                   /* principal that was handed bytes */
bool given[INDICES];            /* served at least once */
bool destroyed[INDICES];
bool fenced[CONNECTIONS];       /* a newer OPEN_CONNECT came from another connection */
byte said_below;                /* highest acknowledgement of the owner */
byte asked_below;               /* one above the highest index that the owner asked for */

hidden byte x, y, w, i_;
hidden byte may, what;
hidden byte closing;            /* its owner's CLOSE is at work */

#ifdef PATIENT
mtype reply = none;             /* on connection 0 */
bool settled[INDICES];          /* the patient reader has the key, or a final answer */
byte keys;                      /* how many it has */
byte losses;
#define answer(c, a) if :: (c) == 0 -> reply = a :: else fi
#else
#define answer(c, a) skip
#endif

/* --- The ring -------------------------------------------------------------------------------------------------- */
inline let_go(i) {  /* wiped, and free for the next round */
  destroyed[i] = true;
  bytes[at(i)] = 0;
  slot[at(i)] = free;
  turn[at(i)] = (i) + RING
}

inline acknowledge_below(below) {
  x = 0;
  do
  :: x < below && x < published ->
     if
     :: is_served(x) || (broken_by(acknowledges_unread) && is_held(x)) ->
        must(R5_served_only, given[x]);
        must(R5_acknowledged, (reader == extension && x < said_below) ||
                              (reader == plain && (x + WINDOW < asked_below || closing)));
        acknowledged++;
        let_go(x)
     :: else
     fi;
     x++
  :: else -> break
  od
}

inline expire(i) {
  must(R4_expires_old_only, i < old_below);
  let_go(i);
  if
  :: broken_by(expiry_uncounted) -> skip
  :: else -> expired++
  fi
}

/* A key goes out on a connection: what is checked holds for every reply, a lost one or a repeated one too. */
inline hand_over(c, i) {
  printf("  connection %d gets index %d\n", c, i);
  must(R3_one_principal, who_has == 0 || who_has == principal_of(c));
  must(R3_fenced_gets_nothing, !fenced[c]);
  must(R4_gone_is_gone, !destroyed[i]);
  must(R4_same_bytes, bytes[at(i)] == i + 1);
  must(R4_no_old_key, i >= old_below);
  must(R8_once, reader != strict || !given[i]);
  who_has = principal_of(c);
  given[i] = true;
  answer(c, key)
}

/* Answers unless the key is not there yet: `what` is none then. */
inline try_get_key(c, i) {
  what = none;
  if
  :: broken_by(replays_last_reply) && last_reply == i + 1 -> what = key; hand_over(c, i)
  :: broken_by(cursor) && i + 1 < last_reply -> what = gone
  :: else ->
     if
     :: is_held(i) && i < old_below && !broken_by(age_unchecked) -> expire(i); what = gone
     :: (is_held(i) && (i >= old_below || broken_by(age_unchecked))) ||
        (broken_by(slot_unchecked) && slot[at(i)] != free && !is_gone(i)) ->
        what = key;
        hand_over(c, i);
        if
        :: broken_by(replays_last_reply) || broken_by(cursor) -> last_reply = i + 1
        :: else
        fi;
        slot[at(i)] = served;
        if
        :: (reader == strict && !broken_by(strict_kept)) -> acknowledged++; let_go(i)
        :: broken_by(write_acknowledges) -> acknowledge_below(i + 1)
        :: reader == plain && !broken_by(late_window) && i >= WINDOW -> acknowledge_below(i - WINDOW + 1)
        :: reader == plain && broken_by(late_window) && i >= RING -> acknowledge_below(i - RING + 1)
        :: else
        fi
     :: is_gone(i) && !broken_by(forgets_to_answer) -> what = gone
     :: !is_held(i) && !is_gone(i) && finished && !broken_by(slot_unchecked) -> what = over
     :: else
     fi
  fi;
  if
  :: what == gone || what == over ->
     must(R4_repeats, destroyed[i] || (finished && i >= published));
     answer(c, what)
  :: what == none -> must(R4_waits_for_unbound, i >= published)
  :: else
  fi
}

/* --- Calls ----------------------------------------------------------------------------------------------------- */
/* Whether the caller may use the stream. An extension client's frames carry the epoch of its OPEN_CONNECT, which it
   keeps over a reconnection; a plain client's connection is known by what it used. */
inline admit(c) {
  may = !closed && owner != 0 && principal_of(c) == owner &&
        (used[c] == epoch || (used[c] == 0 && reader != extension));
  if
  :: may && used[c] == 0 -> used[c] = epoch
  :: else
  fi;
  if
  :: !may && owner != 0 && used[c] != epoch && !closed -> answer(c, fenced_off)
  :: !may && closed -> answer(c, over)
  :: else
  fi
}

inline open_connect(c) {
  if
  :: !closed && (owner == 0 || owner == principal_of(c) || broken_by(anyone_resumes)) ->
     printf("connection %d opens, epoch %d\n", c, epoch + 1);
     owner = principal_of(c);
     epoch++;
     x = 0;
     do
     :: x < CONNECTIONS ->
        fenced[x] = (x != c && used[x] != 0);
        if
        :: fenced[x] && waiting[x] != 0 && !broken_by(fenced_call_served) -> waiting[x] = 0; answer(x, fenced_off)
        :: else
        fi;
        x++
     :: else -> break
     od;
     used[c] = epoch
  :: else -> answer(c, over)  /* ksid_in_use */
  fi
}

inline get_key(c, i) {
  printf("connection %d asks for index %d\n", c, i);
  admit(c);
  if
  :: may || (broken_by(anyone_reads) && owner != 0 && !closed) ||
     (broken_by(epoch_unchecked) && principal_of(c) == owner && !closed) ->
     asked_below = (i + 1 > asked_below && principal_of(c) == owner -> i + 1 : asked_below);
     if  /* also when it is not there yet: out of order the last ones served would fill the ring otherwise */
     :: reader == plain && i >= WINDOW && i < published + WINDOW && !broken_by(late_window) ->
        acknowledge_below(i - WINDOW + 1 + (broken_by(wide_window) -> 1 : 0))
     :: else
     fi;
     try_get_key(c, i);
     waiting[c] = (what == none -> i + 1 : 0)
  :: else
  fi;
  balanced()
}

inline acknowledge(c, below) {
  printf("connection %d acknowledges below %d\n", c, below);
  admit(c);
  if
  :: may ->
     must(R3_fenced_does_nothing, !fenced[c] && principal_of(c) == owner);
     said_below = below;
     acknowledge_below(said_below)
  :: else
  fi;
  balanced()
}

inline end_stream() {
  closed = true;
  x = (published > RING -> published - RING : 0);
  do
  :: x < published ->
     if
     :: is_held(x) -> discarded++; let_go(x)
     :: else
     fi;
     x++
  :: else -> break
  od;
  x = 0;
  do
  :: x < CONNECTIONS ->
     if
     :: waiting[x] != 0 -> waiting[x] = 0; answer(x, over)
     :: else
     fi;
     x++
  :: else -> break
  od;
  balanced()
}

inline close(c) {
  printf("connection %d closes\n", c);
  admit(c);
  if
  :: may || (broken_by(anyone_closes) && owner != 0 && !closed) ->
     must(R3_fenced_does_nothing, !fenced[c] && principal_of(c) == owner);
     closing = true;
     if  /* a plain reader cannot say what it has */
     :: reader == plain || (reader == extension && broken_by(close_says_all)) -> acknowledge_below(published)
     :: else
     fi;
     closing = false;
     end_stream()
  :: else
  fi;
  answer(c, over)
}

/* The connection is lost, with the reply that may be on it; the next one of this application is another. */
inline disconnect(c) {
  printf("connection %d is lost\n", c);
  waiting[c] = 0;
  if
  :: reader != extension -> used[c] = 0; fenced[c] = false
  :: else
  fi
}

inline balanced() {
  must(R7_balance, published == acknowledged + expired + discarded + live_in(0) + live_in(1))
}

inline serve_waiting() {
  w = 0;
  do
  :: w < CONNECTIONS ->
     if
     :: waiting[w] != 0 ->
        i_ = waiting[w] - 1;
        try_get_key(w, i_);
        waiting[w] = (what == none -> i_ + 1 : 0)
     :: else
     fi;
     w++
  :: else -> break
  od
}

/* --- Who acts -------------------------------------------------------------------------------------------------- */
/* The link: binding.pml is about when this may happen. */
proctype peer() {
  end: do
  :: d_step {
       !closed && !finished && published < INDICES && slot[at(published)] == free &&
       turn[at(published)] == published ->
       printf("index %d is published\n", published);
       slot[at(published)] = live;
       bytes[at(published)] = published + 1;
       published++;
       serve_waiting();
       balanced()
     }
#ifdef ENDS
  :: d_step { !closed && !finished -> printf("the peer has closed\n"); finished = true; serve_waiting(); balanced() }
#endif
  od
}

/* Time: chunks grow old in the order of their indices, and the sweep comes some time later. */
#ifdef AGES
proctype time() {
  end: do
  :: d_step { old_below < published -> printf("index %d is past its TTL\n", old_below); old_below++ }
  :: d_step {
       !closed && live_in(0) + live_in(1) > 0 && old_below > 0 ->
       printf("the sweep\n");
       y = 0;
       do
       :: y < published && (y < old_below || broken_by(expires_all)) ->
          if
          :: is_held(y) && !(broken_by(expiry_skips_served) && is_served(y)) -> expire(y)
          :: else
          fi;
          y++
       :: else -> break
       od;
       balanced()
     }
  od
}
#endif

/* An application that may do anything at any time on its connection. What a client remembers would only take
   choices from it, and what becomes of a reply the side cannot know: neither is modelled here. */
#ifdef PATIENT
#define asks(c) (c == STRANGER)  /* connection 1 resumes the stream and closes it, and reads nothing */
#else
#define asks(c) true
#endif
proctype anyone(byte c) {
  byte i;
  end: do
  :: atomic {
       waiting[c] == 0 && asks(c) -> select(i : 0 .. INDICES - 1);
       d_step { get_key(c, i); i = 0 }
     }
  :: d_step { epoch < EPOCHS && !closed -> open_connect(c) }
  :: d_step { reader == extension && used[c] != 0 && said_below < INDICES -> acknowledge(c, said_below + 1) }
  :: d_step { reader == extension && used[c] != 0 && said_below > 0 -> acknowledge(c, said_below) }  /* once more */
  :: d_step { waiting[c] != 0 -> waiting[c] = 0; answer(c, none) }  /* 6: timeout */
  :: d_step { used[c] != 0 || waiting[c] != 0 -> disconnect(c) }
#ifdef ENDS
  :: d_step { owner != 0 && !closed -> close(c) }
#endif
  od
}

#ifdef PATIENT
/* An application that asks until it has each key or a final answer, over connection 0, where replies are lost. */
proctype patient() {
  byte next;
  do
  :: d_step { settled[0] && settled[1] && settled[2] -> next = 0 }; break
  :: else ->
#ifdef IN_ORDER
     d_step { next = (settled[0] -> (settled[1] -> 2 : 1) : 0) };
#else
     if
     :: !settled[0] -> next = 0
     :: !settled[1] -> next = 1
     :: !settled[2] -> next = 2
     fi;
#endif
     d_step {
       reply = none;
       if  /* the acknowledgement of what it has in one row rides on the call */
       :: reader == extension && said_below < INDICES && settled[said_below] -> acknowledge(0, said_below + 1)
       :: else
       fi;
       reply = none;
       get_key(0, next)
     };
     if
     :: d_step { reply == none -> waiting[0] = 0 }  /* 6: timeout; it asks again */
     :: d_step { reply != none && losses < LOSSES -> losses++; disconnect(0) }  /* and again on a new connection */
     :: d_step { reply == key -> settled[next] = true; keys++ }
     :: d_step { reply == gone || reply == over -> settled[next] = true }
     :: d_step { reply == fenced_off -> open_connect(0) }
     fi
  od
}
#endif

init {
  atomic {
    turn[1] = 1;
    if
    :: reader = plain
    :: reader = extension
    :: reader = strict
    fi;
#ifdef PATIENT
    d_step { open_connect(0); reply = none };
#endif
    run peer();
#ifdef AGES
    run time();
#endif
#ifdef PATIENT
    run patient();
#else
    run anyone(0);
#endif
#ifndef ALONE
    run anyone(1);
#endif
#ifndef NO_STRANGER
    run anyone(STRANGER)
#endif
  }
}

#ifdef PATIENT
#endif

#ifdef PATIENT
/* --- Liveness, under weak fairness: whoever can act for ever acts at some time (the peer that can publish, time, the
   reader). Others may do what they like: connection 1 is of the same principal, the stranger never stops asking. */

/* One reader, in order, no TTL, nobody closes: it gets every key however many replies are lost (strict once: an
   answer, for the lost reply has burned the index). */
ltl all_keys { <> (settled[0] && settled[1] && settled[2] && (keys == INDICES || reader == strict)) }

/* Any order, beside others, with TTL and the stream's end: it gets an answer for every index. */
ltl all_answered { <> (settled[0] && settled[1] && settled[2]) }
#endif
