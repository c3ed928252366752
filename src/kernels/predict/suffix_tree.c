/* Counts of all strings of up to `depth` tokens among the last tokens seen: a suffix trie cut at
 * that depth, its paths compressed, whose edges point into a ring of tokens.
 *
 * A suffix that still grows sits at a node. A node exists where paths part or where its count
 * differs from what goes on below, so all tokens of an edge have the same count, exactly, at any
 * time. An edge points to the latest place where it was passed to its end (Fiala and Greene,
 * 1989), which is still in the ring when older starts are taken out, oldest first. One token
 * costs O(depth) steps of constant time; nothing is allocated after the start.
 *
 * Drafts: the most frequent way on from every suffix of the context, the one with the largest
 * expected agreement (Oliaro et al., "SuffixDecoding", 2024). */
#include "kernels/predict/predict.h"

enum { ROOT = 0, DEPTH_MOST = 255 };
#define NONE UINT32_MAX
#define SEPARATOR UINT32_MAX
#define CAPACITY_MOST ((size_t)1 << 28)

typedef struct node {
    uint32_t parent, first_child, next, prev;
    uint32_t best;  /* most frequent child, the latest seen among equals; NONE: to be found */
    uint32_t count; /* starts whose path comes here */
    uint32_t end;   /* the edge is the `length` tokens before this position, modulo 2^32 */
    uint32_t length;
} node;

/* Children of nodes that have several: (parent, first token) -> child. Linear probing. */
typedef struct slot {
    uint32_t parent, token, child;
} slot;

struct suffix_tree {
    unsigned depth, n_active;
    uint32_t capacity, ring_mask, slot_mask;
    uint32_t oldest, now; /* starts oldest .. now - 1 are counted; modulo 2^32 */
    uint32_t n_nodes, free_node;
    uint32_t *ring;
    node *nodes;
    slot *slots;
    uint32_t active[DEPTH_MOST + 1]; /* where the last i tokens sit, i <= n_active */
};

static uint32_t power_of_two(uint64_t least) {
    uint32_t n = 64;
    while (n < least) n *= 2;
    return n;
}

/* Each start ends at one node, and there are fewer nodes where paths part than ends of paths. */
static uint64_t nodes_for(uint64_t capacity) { return 2 * capacity + 4; }

uint64_t suffix_tree_memory(unsigned depth, size_t capacity) {
    if (depth == 0 || depth > DEPTH_MOST || capacity < 2 * (size_t)depth || capacity > CAPACITY_MOST) return 0;
    return sizeof(suffix_tree) + power_of_two(capacity) * (uint64_t)sizeof(uint32_t) +
           nodes_for(capacity) * sizeof(node) + power_of_two(nodes_for(capacity) * 3 / 2) * (uint64_t)sizeof(slot);
}

pith_status suffix_tree_new(pith_ctx *ctx, unsigned depth, size_t capacity, suffix_tree **out) {
    *out = NULL;
    if (!suffix_tree_memory(depth, capacity))
        return pith_fail(ctx, PITH_E_ARGUMENT, "a suffix tree has depth 1 to %d and holds 2 * depth to 2^28 tokens",
                         DEPTH_MOST);
    suffix_tree *t = pith_zalloc(ctx, sizeof *t);
    if (!t) return pith_alloc_status(ctx);
    t->depth = depth;
    t->capacity = (uint32_t)capacity;
    t->ring_mask = power_of_two(capacity) - 1;
    t->slot_mask = power_of_two(nodes_for(capacity) * 3 / 2) - 1;
    t->ring = pith_alloc(ctx, ((size_t)t->ring_mask + 1) * sizeof *t->ring);
    t->nodes = t->ring ? pith_alloc(ctx, nodes_for(capacity) * sizeof *t->nodes) : NULL;
    t->slots = t->nodes ? pith_alloc(ctx, ((size_t)t->slot_mask + 1) * sizeof *t->slots) : NULL;
    if (!t->slots) {
        pith_status status = pith_alloc_status(ctx);
        suffix_tree_free(ctx, t);
        return status;
    }
    suffix_tree_clear(t);
    *out = t;
    return PITH_OK;
}

void suffix_tree_free(pith_ctx *ctx, suffix_tree *t) {
    if (!t) return;
    pith_free(ctx, t->ring);
    pith_free(ctx, t->nodes);
    pith_free(ctx, t->slots);
    pith_free(ctx, t);
}

void suffix_tree_clear(suffix_tree *t) {
    t->oldest = t->now = 0;
    t->n_active = 0;
    t->n_nodes = 1;
    t->free_node = NONE;
    t->active[0] = ROOT;
    t->nodes[ROOT] = (node){.parent = NONE, .first_child = NONE, .next = NONE, .prev = NONE, .best = NONE};
    memset(t->slots, 0xFF, ((size_t)t->slot_mask + 1) * sizeof *t->slots);
}

/* ---- children ---- */

PITH_INLINE uint32_t first_token(const suffix_tree *t, const node *n) {
    return t->ring[(n->end - n->length) & t->ring_mask];
}

PITH_INLINE uint32_t home_of(const suffix_tree *t, uint32_t parent, uint32_t token) {
    uint64_t key = ((uint64_t)parent << 32 | token) * 0x9E3779B97F4A7C15u;
    return (uint32_t)(key >> 32) & t->slot_mask;
}

static slot *slot_of(suffix_tree *t, uint32_t parent, uint32_t token) {
    uint32_t i = home_of(t, parent, token);
    while (t->slots[i].parent != NONE && (t->slots[i].parent != parent || t->slots[i].token != token))
        i = (i + 1) & t->slot_mask;
    return &t->slots[i];
}

static void slot_put(suffix_tree *t, uint32_t parent, uint32_t child) {
    uint32_t token = first_token(t, &t->nodes[child]);
    *slot_of(t, parent, token) = (slot){parent, token, child};
}

/* Empties a slot and moves up those that probing would no longer find. */
static void slot_remove(suffix_tree *t, uint32_t parent, uint32_t token) {
    uint32_t hole = (uint32_t)(slot_of(t, parent, token) - t->slots), i = hole;
    for (;;) {
        i = (i + 1) & t->slot_mask;
        if (t->slots[i].parent == NONE) break;
        uint32_t home = home_of(t, t->slots[i].parent, t->slots[i].token);
        if (((i - home) & t->slot_mask) >= ((i - hole) & t->slot_mask)) {
            t->slots[hole] = t->slots[i];
            hole = i;
        }
    }
    t->slots[hole].parent = NONE;
}

PITH_INLINE bool has_one_child(const suffix_tree *t, const node *n) {
    return n->first_child != NONE && t->nodes[n->first_child].next == NONE;
}

static uint32_t child_of(const suffix_tree *t, uint32_t parent, uint32_t token) {
    const node *n = &t->nodes[parent];
    if (n->first_child == NONE) return NONE;
    if (has_one_child(t, n)) return first_token(t, &t->nodes[n->first_child]) == token ? n->first_child : NONE;
    for (uint32_t i = home_of(t, parent, token);; i = (i + 1) & t->slot_mask) {
        const slot *s = &t->slots[i];
        if (s->parent == NONE) return NONE;
        if (s->parent == parent && s->token == token) return s->child;
    }
}

static void link_child(suffix_tree *t, uint32_t parent, uint32_t child) {
    node *p = &t->nodes[parent], *c = &t->nodes[child];
    if (has_one_child(t, p)) slot_put(t, parent, p->first_child);
    if (p->first_child != NONE) slot_put(t, parent, child);
    c->parent = parent;
    c->prev = NONE;
    c->next = p->first_child;
    if (c->next != NONE) t->nodes[c->next].prev = child;
    p->first_child = child;
}

static void unlink_child(suffix_tree *t, uint32_t parent, uint32_t child) {
    node *p = &t->nodes[parent], *c = &t->nodes[child];
    if (!has_one_child(t, p)) slot_remove(t, parent, first_token(t, c));
    if (c->prev != NONE) t->nodes[c->prev].next = c->next;
    if (c->next != NONE) t->nodes[c->next].prev = c->prev;
    if (p->first_child == child) p->first_child = c->next;
    if (p->best == child) p->best = NONE;
    if (has_one_child(t, p)) slot_remove(t, parent, first_token(t, &t->nodes[p->first_child]));
}

/* `to` takes the place of `from`; their edges begin with the same token. */
static void replace_child(suffix_tree *t, uint32_t parent, uint32_t from, uint32_t to) {
    node *p = &t->nodes[parent], *old = &t->nodes[from], *new = &t->nodes[to];
    if (!has_one_child(t, p)) slot_of(t, parent, first_token(t, old))->child = to;
    new->parent = parent;
    new->next = old->next;
    new->prev = old->prev;
    if (new->next != NONE) t->nodes[new->next].prev = to;
    if (new->prev != NONE) t->nodes[new->prev].next = to;
    if (p->first_child == from) p->first_child = to;
    if (p->best == from) p->best = to;
}

static uint32_t new_node(suffix_tree *t, uint32_t count, uint32_t length) {
    uint32_t i = t->free_node;
    if (i != NONE)
        t->free_node = t->nodes[i].next;
    else
        i = t->n_nodes++;
    t->nodes[i] = (node){NONE, NONE, NONE, NONE, NONE, count, t->now, length};
    return i;
}

static void drop_node(suffix_tree *t, uint32_t i) {
    t->nodes[i].next = t->free_node;
    t->free_node = i;
}

/* A child that was passed just now: the latest of its count. */
static void passed(suffix_tree *t, uint32_t parent, uint32_t child) {
    node *p = &t->nodes[parent];
    bool only = has_one_child(t, p);
    if (only || (p->best != NONE && t->nodes[child].count >= t->nodes[p->best].count)) p->best = child;
}

static uint32_t best_child(suffix_tree *t, uint32_t parent) {
    node *p = &t->nodes[parent];
    if (p->best != NONE) return p->best;
    for (uint32_t c = p->first_child; c != NONE; c = t->nodes[c].next) {
        const node *a = &t->nodes[c], *b = p->best == NONE ? NULL : &t->nodes[p->best];
        if (!b || a->count > b->count ||
            (a->count == b->count && t->now - (a->end - a->length) < t->now - (b->end - b->length)))
            p->best = c;
    }
    return p->best;
}

/* A node that neither parts paths nor ends one goes; its only child takes over its edge. */
static void join_with_child(suffix_tree *t, uint32_t i) {
    node *n = &t->nodes[i];
    if (i == ROOT || !has_one_child(t, n)) return;
    uint32_t only = n->first_child;
    node *c = &t->nodes[only];
    if (c->count != n->count) return;
    replace_child(t, n->parent, i, only);
    c->length += n->length;
    drop_node(t, i);
}

/* ---- growing and forgetting ---- */

/* Moves the suffix that sits at v over the token just stored. */
static uint32_t step(suffix_tree *t, uint32_t v, uint32_t token) {
    node *n = &t->nodes[v];
    uint32_t child = child_of(t, v, token);
    if (child == NONE) {
        if (v != ROOT && n->first_child == NONE && n->count == 1) { /* a leaf of its own */
            n->length++;
            n->end = t->now;
            return v;
        }
        child = new_node(t, 1, 1);
        link_child(t, v, child);
        passed(t, v, child);
        return child;
    }
    node *c = &t->nodes[child];
    if (c->length > 1) {
        if (v != ROOT && has_one_child(t, n) && n->count == c->count + 1) { /* nothing else ends at v: it moves along */
            n->length++;
            n->end = t->now;
            c->length--;
            return v;
        }
        uint32_t middle = new_node(t, c->count + 1, 1);
        replace_child(t, v, child, middle);
        node *m = &t->nodes[middle];
        m->first_child = m->best = child;
        c->parent = middle;
        c->next = c->prev = NONE;
        c->length--;
        passed(t, v, middle);
        return middle;
    }
    c->count++;
    c->end = t->now;
    passed(t, v, child);
    join_with_child(t, v);
    return child;
}

/* Takes the oldest start out of all counts. */
static void forget_oldest(suffix_tree *t) {
    uint32_t v = ROOT, at = t->oldest++, left = t->depth;
    while (left && at != t->now && t->ring[at & t->ring_mask] != SEPARATOR) {
        uint32_t child = child_of(t, v, t->ring[at & t->ring_mask]);
        node *c = &t->nodes[child];
        if (--c->count == 0) {
            unlink_child(t, v, child);
            drop_node(t, child);
            break;
        }
        if (t->nodes[v].best == child && !has_one_child(t, &t->nodes[v])) t->nodes[v].best = NONE;
        at += c->length;
        left -= c->length;
        v = child;
    }
    join_with_child(t, v);
}

static void store(suffix_tree *t, uint32_t token) {
    if (t->now - t->oldest == t->capacity) forget_oldest(t);
    t->ring[t->now++ & t->ring_mask] = token;
}

void suffix_tree_append(suffix_tree *t, uint32_t token) {
    if (token == SEPARATOR) {
        suffix_tree_end(t);
        return;
    }
    store(t, token);
    for (unsigned i = PITH_MIN(t->n_active, t->depth - 1) + 1; i-- > 0;)
        t->active[i + 1] = step(t, t->active[i], token);
    if (t->n_active < t->depth) t->n_active++;
}

void suffix_tree_end(suffix_tree *t) {
    if (t->n_active == 0) return;
    store(t, SEPARATOR);
    t->n_active = 0;
}

/* ---- questions ---- */

/* A place on an edge: `passed` of its tokens lie before. */
typedef struct place {
    uint32_t node, passed;
} place;

static bool find(const suffix_tree *t, const uint32_t *tokens, size_t n, place *at) {
    *at = (place){ROOT, 0};
    for (size_t i = 0; i < n;) {
        uint32_t child = child_of(t, at->node, tokens[i]);
        if (child == NONE) return false;
        const node *c = &t->nodes[child];
        uint32_t k = 0, from = c->end - c->length;
        while (k < c->length && i < n && t->ring[(from + k) & t->ring_mask] == tokens[i]) k++, i++;
        if (k < c->length && i < n) return false;
        *at = (place){child, k};
    }
    return true;
}

uint32_t suffix_tree_count(const suffix_tree *t, const uint32_t *tokens, size_t n) {
    place at;
    if (n == 0 || n > t->depth || !find(t, tokens, n, &at)) return 0;
    return t->nodes[at.node].count;
}

/* The way on from a place, always to the most frequent child. */
static void follow(suffix_tree *t, place at, unsigned limit, double least, suffix_draft *d) {
    double p = 1;
    d->n = 0;
    d->score = 0;
    while (d->n < limit) {
        const node *n = &t->nodes[at.node];
        if (at.passed == n->length) {
            uint32_t child = best_child(t, at.node);
            if (child == NONE) return;
            p = p * ((double)t->nodes[child].count / (double)n->count);
            if (p < least) return;
            at = (place){child, 0};
            n = &t->nodes[child];
        }
        d->p[d->n] = (float)p;
        d->token[d->n++] = t->ring[(n->end - n->length + at.passed++) & t->ring_mask];
        d->score = d->score + p;
    }
}

void suffix_tree_draft(suffix_tree *t, const uint32_t *context, size_t n_context, const suffix_rule *rule,
                       suffix_draft *out) {
    out->n = out->matched = 0;
    out->score = 0;
    size_t longest = PITH_MIN(context ? n_context : t->n_active, t->depth);
    suffix_draft d;
    for (size_t matched = longest; matched > 0; matched--) {
        double most = (double)rule->factor * (double)matched + (double)rule->offset;
        unsigned limit = PITH_MIN(rule->max_tokens, SUFFIX_DRAFT_MOST);
        if (!(most >= limit)) limit = most >= 1 ? (unsigned)most : 0;
        if (limit <= out->score) continue; /* no probability is above 1 */
        place at;
        if (!context)
            at = (place){t->active[matched], t->nodes[t->active[matched]].length};
        else if (!find(t, context + n_context - matched, matched, &at))
            continue;
        follow(t, at, limit, rule->min_probability, &d);
        if (d.score > out->score) {
            *out = d;
            out->matched = (uint32_t)matched;
        }
    }
}

uint32_t suffix_tree_tokens(const suffix_tree *t) { return t->now - t->oldest; }
