/* stats_json.h - a region's statistics as json-c has them, and what is made of them. */
#ifndef SHMBIND_STATS_JSON_H
#define SHMBIND_STATS_JSON_H

#include "cli.h"

#include <json-c/json.h>
#include <stdio.h>

/* To be given back with json_object_put(). The result of a library call. */
int stats_json(const char *name, struct json_object **out);

/* A member, "boxes.owned" one of a member; 0, NULL or "" where there is none, as before a version that has it. */
struct json_object *json_at(struct json_object *of, const char *path);
uint64_t json_number(struct json_object *of, const char *path);
const char *json_text(struct json_object *of, const char *path);

/* The Prometheus text format. */
void stats_prometheus(struct json_object *stats, FILE *to);

/* One page in HTML, of the region now. The result of a library call. */
int stats_html(const char *name, FILE *to);

#endif
