// Gives pusher-js/react-native to Node as React Native's bundler gives it to an app: Node takes no folder for a module, and
// does not see the names that this one exports.

import { createRequire, register } from "node:module";
import { pathToFileURL } from "node:url";

const bundle = pathToFileURL(createRequire(import.meta.url).resolve("pusher-js/react-native"));
const module = `import all from "${bundle}"; export default all; export const { Pusher } = all;`;
const hooks = `export const resolve = (name, context, next) => name === "pusher-js/react-native"
  ? { url: ${JSON.stringify(`data:text/javascript,${encodeURIComponent(module)}`)}, shortCircuit: true }
  : next(name, context);`;
register(`data:text/javascript,${encodeURIComponent(hooks)}`);
