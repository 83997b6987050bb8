// Last: everything is declared.

if (readPart()) start();
else {
  byId("empty").hidden = false;
  byId("empty").textContent = "data.js is missing beside this page; copy the whole gallery folder.";
}
