// SPDX-License-Identifier: Apache-2.0
// Reads a JSON array of Kubernetes objects and prints, for each, an array of what is wrong with it:
//     node check.mjs NODE_MODULES <objects.json
// The validators of kubernetes-models take fields that they do not know. So each object is wrapped
// in a proxy that notes which fields they looked at: what nobody looked at, no schema knows.
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const modules = process.argv[2];
const packages = ["kubernetes-models", "@kubernetes-models/prometheus-operator"];

// The file of a kind: apps/v1 Deployment is in IoK8sApiAppsV1Deployment.js.
function schemaFile(object) {
    const [version, group = "core"] = String(object.apiVersion).split("/").reverse();
    const name = group.split(".")[0] + version + object.kind + ".js";
    for (const one of packages) {
        const folder = join(modules, one, "_schemas");
        const found = readdirSync(folder).filter((file) => file.toLowerCase().endsWith(name.toLowerCase()));
        if (found.length === 1)
            return join(folder, found[0]);
    }
    throw new Error(`no schema for ${object.apiVersion} ${object.kind}`);
}

// VALUE in a proxy; unseen() gives the paths below it that have not been read.
function watched(value, path = "") {
    if (value === null || typeof value !== "object")
        return { view: value, unseen: () => [] };
    const children = {};
    const seen = new Set();
    for (const key of Object.keys(value))
        children[key] = watched(value[key], `${path}/${key}`);
    const view = new Proxy(value, {
        get(target, key) {
            if (!Object.hasOwn(children, key))
                return target[key];
            seen.add(key);
            return children[key].view;
        },
    });
    const unseen = () =>
        Object.keys(children).flatMap((key) => (seen.has(key) ? children[key].unseen() : [`${path}/${key}`]));
    return { view, unseen };
}

async function check(object) {
    const { validate } = await import(pathToFileURL(schemaFile(object)));
    const { view, unseen } = watched(object);
    const faults = validate(view) ? [] : validate.errors.map((e) =>
        `${e.instancePath}: ${e.keyword} ${JSON.stringify(e.params)}`);
    return faults.concat(unseen().map((path) => `${path}: no schema knows it`));
}

const answers = [];
for (const object of JSON.parse(readFileSync(0, "utf8"))) {
    try {
        answers.push(await check(object));
    } catch (e) {
        answers.push([String(e)]);
    }
}
console.log(JSON.stringify(answers));
