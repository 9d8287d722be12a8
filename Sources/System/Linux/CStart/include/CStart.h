// Nothing of it can be called: what it does is done before main.
#pragma once
