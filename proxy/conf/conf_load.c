/* SPDX-License-Identifier: Apache-2.0 */
/* The order of sources: the file, then the environment, then options; each wins over those before
 * it, and then come the values that follow from others. */
#include "conf/conf_load.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf/build.h"
#include "conf/files.h"
#include "conf/reader.h"
#include "conf/secret.h"
#include "conf/sources.h"

/* Gives the key NAME a value that nobody wrote. */
static void imply(struct settings *s, const char *name, const char *text)
{
    const struct key *k = key_find(KEY_GLOBAL, str_from(name));
    struct setting *setting = section_setting(s->global, k);
    if (setting->source == FROM_NOWHERE)
        setting_add(s, setting, k, value_at(text, name), FROM_IMPLIED);
}

/* COMMAND knows neither networks nor passwords of the file. Unless -l made further listeners,
 * nobody but this machine can come, and credentials are not asked for. */
static void open_for_command(struct settings *s)
{
    const struct key *k = key_find(KEY_GLOBAL, STR("client.allow"));
    struct setting *allow = section_setting(s->global, k);
    if (allow->source != FROM_NOWHERE)
        setting_add(s, allow, k, value_at("loopback", "run"), allow->source);
    k = key_find(KEY_GLOBAL, STR("listen"));
    if (section_setting(s->global, k)->n > 1)
        return;
    k = key_find(KEY_GLOBAL, STR("client.auth_file"));
    setting_add(s, section_setting(s->global, k), k, value_at("", "run"), FROM_IMPLIED);
}

static void drop_listeners(struct settings *s)
{
    setting_reset(section_setting(s->global, key_find(KEY_GLOBAL, STR("listen"))));
    setting_reset(section_setting(s->global, key_find(KEY_GLOBAL, STR("service"))));
    settings_drop_forwards(s, FROM_FILE);
}

/* Values that follow from others, once all sources are read. */
static void imply_all(struct settings *s, bool is_run)
{
    if (is_run) {
        imply(s, "listen", "127.0.0.1:0");
        imply(s, "service", "off");
        imply(s, "log.access", "off");
        imply(s, "log.level", "warning");
        open_for_command(s);
    }
    const struct key *k = key_find(KEY_GLOBAL, STR("client.auth_file"));
    const struct setting *file = section_setting(s->global, k);
    if (file->n > 0 && file->v[0].text[0] != '\0')
        imply(s, "client.allow", "any");
}

/* At start whoever writes to the FIFO PATH is waited for; a reload waits for nobody, and then it
 * has nothing in it. -1, or a descriptor that keeps it open while it is read. */
static int wait_for_writer(const char *path)
{
    struct stat st;
    if (path == NULL || stat(path, &st) != 0 || !S_ISFIFO(st.st_mode))
        return -1;
    return open(path, O_RDONLY | O_CLOEXEC);
}

struct conf *conf_load(const struct conf_source *src, struct conf_faults *faults)
{
    static unsigned generation;
    int fifo = generation == 0 ? wait_for_writer(src->file) : -1;
    unsigned before = faults->n;
    struct settings s;
    struct conf *c = xcalloc(1, sizeof(*c));
    atomic_init(&c->refs, 1);
    settings_init(&s);
    c->file = src->file == NULL ? NULL : arena_dup(&c->arena, str_from(src->file)).p;
    c->is_run = src->is_run;
    if (src->running != NULL)
        conf_files_keep(&c->files, src->running->files);
    if (src->file != NULL)
        reader_add_file(&s, &c->files, src->file, faults);
    if (fifo >= 0)
        close(fifo);
    if (src->is_run)
        drop_listeners(&s);
    sources_add_environment(&s, src->environment, src->is_run, faults);
    for (unsigned i = 0; i < src->n_options; i++)
        sources_add_option(&s, src->options[i], src->flags == NULL ? NULL : src->flags[i], faults);
    imply_all(&s, src->is_run);

    build_conf(c, &s, &src->run, faults);
    if (!s.is_partial)
        secrets_load(c, src->last, faults);
    if (src->check != NULL && !s.is_partial)
        (void)src->check(c, faults);
    settings_clear(&s);
    conf_faults_end(faults, src->file);
    if (faults->n > before)
        conf_unref(&c);
    else
        c->generation = ++generation;
    return c;
}
