// What the browser remembers; where it refuses to, what the page remembers for as long as it is open.

function opened(name) {
  try {
    const storage = window[name];
    storage.getItem("");
    return storage;
  } catch {
    const kept = new Map();
    return {
      getItem: (key) => kept.get(key) ?? null,
      setItem: (key, value) => kept.set(key, value),
      removeItem: (key) => kept.delete(key),
    };
  }
}

export const forGood = opened("localStorage");
export const forThisTab = opened("sessionStorage");
