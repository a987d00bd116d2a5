/* A module that runs commands for others: in the command of a client, in a timer, and as a command with a key of its own.
 * The functions are those of Redis's module API; only what is used here is declared. */
#include <stddef.h>
#include <stdlib.h>

typedef struct Ctx Ctx;
typedef struct String String;
typedef struct Reply Reply;
typedef int Command(Ctx *, String **, int);
typedef void Timer(Ctx *, void *);

enum { OK = 0, ERR = 1, API_VERSION = 1, REPLY_PROMISE = 12 };

static int (*CreateCommand)(Ctx *, const char *, Command *, const char *, int, int, int);
static void (*SetModuleAttribs)(Ctx *, const char *, int, int);
static const char *(*StringPtrLen)(const String *, size_t *);
static String *(*HoldString)(Ctx *, String *);
static void (*FreeString)(Ctx *, String *);
static Reply *(*Call)(Ctx *, const char *, const char *, ...);
static int (*CallReplyType)(Reply *);
static void (*FreeCallReply)(Reply *);
static int (*ReplyWithCallReply)(Ctx *, Reply *);
static int (*ReplyWithSimpleString)(Ctx *, const char *);
static int (*ReplyWithError)(Ctx *, const char *);
static unsigned long long (*CreateTimer)(Ctx *, long long, Timer *, void *);

static int run(Ctx *ctx, String **words, int count, const char *format) {
    Reply *reply = Call(ctx, StringPtrLen(words[0], NULL), format, words + 1, (size_t)(count - 1));
    if (!reply) return ReplyWithError(ctx, "ERR the server has not run the command");
    if (CallReplyType(reply) == REPLY_PROMISE)
        ReplyWithSimpleString(ctx, "PROMISE");
    else
        ReplyWithCallReply(ctx, reply);
    FreeCallReply(reply);
    return OK;
}

/* CALLER.CALL command [argument ...] */
static int call(Ctx *ctx, String **argv, int argc) {
    return run(ctx, argv + 1, argc - 1, "!Ev");
}

/* CALLER.ASYNC command [argument ...]: the command may block. */
static int async(Ctx *ctx, String **argv, int argc) {
    return run(ctx, argv + 1, argc - 1, "!KEv");
}

typedef struct {
    int count;
    String **words;
} Later;

static void ring(Ctx *ctx, void *data) {
    Later *later = data;
    Reply *reply = Call(ctx, StringPtrLen(later->words[0], NULL), "!Ev", later->words + 1, (size_t)(later->count - 1));
    if (reply) FreeCallReply(reply);
    for (int i = 0; i < later->count; i++) FreeString(NULL, later->words[i]);
    free(later->words);
    free(later);
}

/* CALLER.LATER command [argument ...]: in a timer, for no client. */
static int later(Ctx *ctx, String **argv, int argc) {
    Later *later = malloc(sizeof(*later));
    later->count = argc - 1;
    later->words = malloc(sizeof(String *) * (size_t)later->count);
    for (int i = 0; i < later->count; i++) later->words[i] = HoldString(NULL, argv[i + 1]);
    CreateTimer(ctx, 1, ring, later);
    return ReplyWithSimpleString(ctx, "OK");
}

/* CALLER.SET key value: a write, whose key the server knows. */
static int set(Ctx *ctx, String **argv, int argc) {
    Reply *reply = argc == 3 ? Call(ctx, "SET", "!ss", argv[1], argv[2]) : NULL;
    if (!reply) return ReplyWithError(ctx, "ERR it was not set");
    FreeCallReply(reply);
    return ReplyWithSimpleString(ctx, "SET");
}

int RedisModule_OnLoad(Ctx *ctx) {
    int (*get)(const char *, void *) = (int (*)(const char *, void *)) * (void **)ctx;
    struct {
        const char *name;
        void *place;
    } functions[] = {
        {"CreateCommand", &CreateCommand},     {"SetModuleAttribs", &SetModuleAttribs},
        {"StringPtrLen", &StringPtrLen},       {"HoldString", &HoldString},
        {"FreeString", &FreeString},           {"Call", &Call},
        {"CallReplyType", &CallReplyType},     {"FreeCallReply", &FreeCallReply},
        {"ReplyWithError", &ReplyWithError},   {"ReplyWithCallReply", &ReplyWithCallReply},
        {"CreateTimer", &CreateTimer},         {"ReplyWithSimpleString", &ReplyWithSimpleString},
    };
    for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++) {
        char name[64] = "RedisModule_";
        size_t at = 12;
        for (const char *from = functions[i].name; *from; from++) name[at++] = *from;
        name[at] = 0;
        if (get(name, functions[i].place) != OK) return ERR;
    }
    SetModuleAttribs(ctx, "caller", 1, API_VERSION);
    if (CreateCommand(ctx, "caller.call", call, "write", 0, 0, 0) != OK) return ERR;
    if (CreateCommand(ctx, "caller.async", async, "write", 0, 0, 0) != OK) return ERR;
    if (CreateCommand(ctx, "caller.later", later, "write", 0, 0, 0) != OK) return ERR;
    return CreateCommand(ctx, "caller.set", set, "write deny-oom", 1, 1, 1);
}
