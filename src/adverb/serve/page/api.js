// Requests to the server. Where it asks for a key, so does the page.

const KEY = "adverb-key";
const dialog = document.getElementById("key");

/** The answer to a request: JSON, or a Blob of an image. Throws an Error with the server's sentence. */
export async function ask(path, body, signal) {
  const key = sessionStorage.getItem(KEY);
  const headers = {...(body && {"Content-Type": "application/json"}), ...(key && {Authorization: `Bearer ${key}`})};
  let response;
  try {
    response = await fetch(path, {method: body ? "POST" : "GET", headers, body: body && JSON.stringify(body), signal});
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The server does not answer. Is it still running?");
  }
  if (response.status === 401) {
    await askForKey();
    return ask(path, body, signal);
  }
  const type = response.headers.get("Content-Type") ?? "";
  if (response.ok) return type.includes("json") ? response.json() : response.blob();
  const said = type.includes("json") ? (await response.json()).error : response.statusText;
  throw new Error(said.charAt(0).toUpperCase() + said.slice(1) + (/[.?!]$/.test(said) ? "" : "."));
}

let asking;
function askForKey() {
  sessionStorage.removeItem(KEY);
  asking ??= new Promise((resolve) => {
    const field = dialog.querySelector("input");
    field.value = "";
    dialog.showModal();
    dialog.onclose = () => {
      if (!field.value) return dialog.showModal();
      sessionStorage.setItem(KEY, field.value);
      asking = undefined;
      resolve();
    };
  });
  return asking;
}

/** The same request for a shell. */
export function curl(path, body) {
  const key = sessionStorage.getItem(KEY) ? ' \\\n  -H "Authorization: Bearer $ADVERB_API_KEY"' : "";
  const json = JSON.stringify(body).replaceAll("'", "'\\''");
  return `curl ${location.origin}${path}${key} \\\n  -H 'Content-Type: application/json' \\\n  -d '${json}'`;
}
